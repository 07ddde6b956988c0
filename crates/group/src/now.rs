use types::Monotonic;

/// The time, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// What sessions and delays are measured by.
    pub at: Monotonic,
    /// Milliseconds since 1970: what is written down.
    pub wall_ms: i64,
}
