use anyhow::bail;
use clap::ValueEnum;

/// Who writes and reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    /// Ours, whose batches are encoded beforehand: measures the brokers
    Bare,
    /// What a user of librdkafka sees; in a program of its own, which `make bench-client` builds
    Librdkafka,
}

impl Client {
    /// # Errors
    /// This program was built without it.
    pub fn check(self) -> anyhow::Result<()> {
        if self == Self::Librdkafka && !cfg!(feature = "librdkafka") {
            bail!(
                "--client librdkafka: this program was built without librdkafka, as servers are; \
                `make bench-client` builds one with it (cargo build -p ottla --features librdkafka)"
            );
        }
        Ok(())
    }
}
