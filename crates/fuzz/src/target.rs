/// Who sends the bytes of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Kafka client, or a broker to our own client.
    Client,
    /// A record batch, from wherever.
    Batch,
    /// A file of ours, damaged or written by somebody else.
    Disk,
    /// Another node.
    Peer,
}

/// Takes any bytes. Panics where a promise is broken, and only there.
pub type Run = Box<dyn Fn(&[u8])>;
/// Inputs that are valid, or nearly.
pub type Seeds = Box<dyn Fn() -> Vec<Vec<u8>>>;

/// One parser and what is behind it.
pub struct Target {
    pub name: String,
    pub kind: Kind,
    pub run: Run,
    pub seeds: Seeds,
}

impl Target {
    pub(crate) fn new(
        name: impl Into<String>,
        kind: Kind,
        run: impl Fn(&[u8]) + 'static,
        seeds: impl Fn() -> Vec<Vec<u8>> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            kind,
            run: Box::new(run),
            seeds: Box::new(seeds),
        }
    }
}
