use crate::Numbers;
use crate::layer::Layer;
use fuser::{INodeNo, Notifier};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// The commands, for whoever mistypes one.
pub const COMMANDS: &str = "lose SEED | forget | fail-sync PART-OF-PATH | fail-write PART-OF-PATH | full | \
                            sync-delay MILLISECONDS | heal | flip PATH OFFSET | stats";

/// Carries out commands, a line each, and answers each with a line of JSON; `{"error": …}` for what it could not do.
#[derive(Debug)]
pub struct Control {
    layer: Layer,
    notifier: Notifier,
}

impl Control {
    #[must_use]
    pub fn new(layer: Layer, notifier: Notifier) -> Self {
        Self { layer, notifier }
    }

    /// Serves one connection after the other, for as long as the process lives.
    ///
    /// # Errors
    /// Those of the listener. What happens to a connection ends that only.
    pub fn serve(&self, listener: &UnixListener) -> io::Result<()> {
        loop {
            let (connection, _) = listener.accept()?;
            if let Err(error) = self.converse(&connection) {
                eprintln!("powerloss: a control connection broke: {error}");
            }
        }
    }

    fn converse(&self, connection: &UnixStream) -> io::Result<()> {
        let mut answers = connection;
        for line in BufReader::new(connection).lines() {
            let answer = self.command(&line?).unwrap_or_else(|error| json!({ "error": error }));
            answers.write_all(format!("{answer}\n").as_bytes())?;
        }
        Ok(())
    }

    fn command(&self, line: &str) -> Result<Value, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["lose", seed] => self.lose(Some(&mut Numbers::new(number(seed)?))),
            ["forget"] => self.lose(None),
            ["flip", path, offset] => self.flip(Path::new(path), number(offset)?),
            ["stats"] => Ok(json!(self.layer.lock().stats)),
            ["fail-sync", part] => self.fault(|faults| faults.fail_sync = Some(part.to_owned())),
            ["fail-write", part] => self.fault(|faults| faults.fail_write = Some(part.to_owned())),
            ["full"] => self.fault(|faults| faults.full = true),
            ["sync-delay", delay] => {
                let delay = Duration::from_millis(number(delay)?);
                self.fault(|faults| faults.sync_delay = delay)
            }
            ["heal"] => self.fault(|faults| *faults = crate::Faults::default()),
            _ => Err(format!("{line:?} is no command. Commands: {COMMANDS}")),
        }
    }

    fn fault(&self, change: impl FnOnce(&mut crate::Faults)) -> Result<Value, String> {
        change(&mut self.layer.lock().faults);
        Ok(json!({}))
    }

    fn lose(&self, numbers: Option<&mut Numbers>) -> Result<Value, String> {
        let (loss, known) = self.layer.lock().lose(numbers).map_err(|error| error.to_string())?;
        self.forget_pages(&known)?;
        Ok(json!(loss))
    }

    fn flip(&self, path: &Path, offset: u64) -> Result<Value, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let number = {
            let mut state = self.layer.lock();
            let number = state.tree.resolve(path).map_err(|errno| failed(&io_error(errno)))?;
            let content = state.tree.file(number).map_err(|errno| failed(&io_error(errno)))?;
            content.flip(offset, 4).map_err(|error| failed(&error))?;
            number
        };
        self.forget_pages(&[number])?;
        Ok(json!({}))
    }

    /// The kernel drops what it holds in memory of these files. Without the lock: it may ask for pages meanwhile.
    fn forget_pages(&self, numbers: &[u64]) -> Result<(), String> {
        for number in numbers {
            match self.notifier.inval_inode(INodeNo(*number), 0, 0) {
                // It does not know the file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|error| format!("the kernel does not forget its pages: {error}"))?,
            }
        }
        Ok(())
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word:?} is no number"))
}

fn io_error(errno: fuser::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.into())
}
