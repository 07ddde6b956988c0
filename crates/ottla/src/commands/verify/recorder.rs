use anyhow::Context;
use history::{Body, Event, Header};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use tokio::time::Instant;

/// Writes what happens, as it happens, and counts it for the progress line.
pub struct Recorder {
    to: RefCell<BufWriter<File>>,
    began: Instant,
    operations: Cell<u64>,
    acknowledged: Cell<u64>,
    read: Cell<u64>,
    unknown: Cell<u64>,
    failed: RefCell<Option<std::io::Error>>,
}

/// How much was done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub acknowledged: u64,
    pub read: u64,
    pub unknown: u64,
}

impl Recorder {
    /// # Errors
    /// The file cannot be written.
    pub fn new(path: &Path, header: &Header) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut to = BufWriter::new(file);
        header
            .write(&mut to)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            to: RefCell::new(to),
            began: Instant::now(),
            operations: Cell::new(0),
            acknowledged: Cell::new(0),
            read: Cell::new(0),
            unknown: Cell::new(0),
            failed: RefCell::new(None),
        })
    }

    /// Nanoseconds since the beginning.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A number for an operation that was never given before.
    pub fn operation(&self) -> u64 {
        self.operations.set(self.operations.get() + 1);
        self.operations.get()
    }

    pub fn tell(&self, worker: &str, body: Body<'_>) {
        let add = |cell: &Cell<u64>, count: usize| cell.set(cell.get() + count as u64);
        match &body {
            Body::Sent { .. } => add(&self.acknowledged, 1),
            Body::NotSent { .. } => add(&self.unknown, 1),
            Body::Poll { records, .. } | Body::Final { records, .. } => add(&self.read, records.len()),
            _ => {}
        }
        let event = Event {
            at: self.now(),
            worker: worker.into(),
            body,
        };
        if let Err(error) = history::write_event(&mut *self.to.borrow_mut(), &event) {
            self.failed.borrow_mut().get_or_insert(error);
        }
    }

    /// What was told is out of this process: done before a request leaves that it tells of.
    pub fn flush(&self) {
        if let Err(error) = self.to.borrow_mut().flush() {
            self.failed.borrow_mut().get_or_insert(error);
        }
    }

    pub fn progress(&self) -> Progress {
        Progress {
            acknowledged: self.acknowledged.get(),
            read: self.read.get(),
            unknown: self.unknown.get(),
        }
    }

    /// # Errors
    /// Something could not be written.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.failed.borrow_mut().take() {
            Some(error) => Err(error).context("cannot write the history"),
            None => Ok(()),
        }
    }
}
