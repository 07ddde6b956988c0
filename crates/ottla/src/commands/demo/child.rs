use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;

/// Time for a node to stop by itself before it is killed.
const STOP: Duration = Duration::from_secs(15);
/// The log's last lines shown when a node has died.
const LAST_LINES: usize = 12;
const LAST_BYTES: u64 = 8 * 1024;

/// What one node of the demo is started with.
#[derive(Debug, Clone)]
pub struct Plan {
    pub node_id: i32,
    pub port: u16,
    pub directory: PathBuf,
    /// Content of its `server.properties`.
    pub properties: String,
}

impl Plan {
    pub fn log(&self) -> PathBuf {
        self.directory.join("ottla.log")
    }
}

/// One node: a process of its own. It dies with the demo, even if that is killed.
pub struct Child {
    plan: Plan,
    process: tokio::process::Child,
    pid: u32,
    output: Lines<BufReader<ChildStdout>>,
    /// Its end was seen and reported.
    gone: bool,
}

impl Child {
    pub fn start(plan: Plan) -> anyhow::Result<Self> {
        let directory = &plan.directory;
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let config = directory.join("server.properties");
        fs::write(&config, &plan.properties).with_context(|| format!("cannot write {}", config.display()))?;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(plan.log())
            .with_context(|| format!("cannot write {}", plan.log().display()))?;
        let mut process =
            tokio::process::Command::new(std::env::current_exe().context("cannot find this program's file")?)
                .arg("start")
                .arg("--config")
                .arg(&config)
                .args(["--announce-ready", "--die-with-parent"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(log)
                // Ctrl-C goes to the whole foreground group: the demo alone shall get it and stop the nodes in order.
                .process_group(0)
                .spawn()
                .with_context(|| format!("cannot start node {}", plan.node_id))?;
        let pid = process.id().context("the node ended at once")?;
        fs::write(directory.join("ottla.pid"), format!("{pid}\n")).context("cannot write ottla.pid")?;
        let output = process.stdout.take().context("the node has no output")?;
        Ok(Self {
            plan,
            process,
            pid,
            output: BufReader::new(output).lines(),
            gone: false,
        })
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether its end was seen.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the node says that it is in the quorum and unfenced.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        while let Some(line) = self.output.next_line().await? {
            if line == super::super::start::READY {
                return Ok(());
            }
        }
        self.gone = true;
        bail!(
            "node {} ended before it was ready. {}",
            self.plan.node_id,
            self.last_lines()
        );
    }

    /// Resolves when the process has ended; never again after that was reported.
    pub async fn died(&mut self) {
        if self.gone {
            std::future::pending::<()>().await;
        }
        // An error means that there is nothing left to wait for.
        let _ = self.process.wait().await;
    }

    pub fn report_death(&mut self) {
        self.gone = true;
        let status = match self.process.try_wait() {
            Ok(Some(status)) => status.to_string(),
            _ => "unknown status".to_owned(),
        };
        eprintln!(
            "node {} (process {}) has ended: {status}. It is not started again; the others go on. {}",
            self.plan.node_id,
            self.pid,
            self.last_lines()
        );
    }

    pub async fn kill_and_restart(&mut self) -> anyhow::Result<Duration> {
        self.kill().await?;
        self.start_again().await
    }

    /// With SIGKILL.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if !self.gone {
            self.process.kill().await.context("cannot kill the node")?;
            self.gone = true;
        }
        Ok(())
    }

    /// After its end; gives how long it took to be ready.
    pub async fn start_again(&mut self) -> anyhow::Result<Duration> {
        let started = tokio::time::Instant::now();
        let plan = self.plan.clone();
        *self = Self::start(plan)?;
        self.ready().await?;
        Ok(started.elapsed())
    }

    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub fn signal(&self, signal: Signal) {
        if self.gone {
            return;
        }
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may have ended by itself in this moment: then there is nothing to stop.
            let _ = kill_process(pid, signal);
        }
    }

    pub async fn ended(&mut self) {
        if tokio::time::timeout(STOP, self.process.wait()).await.is_err() {
            eprintln!("node {} does not stop; killing it", self.plan.node_id);
            let _ = self.process.kill().await;
        }
        self.gone = true;
        // The pid file says who is running.
        let _ = fs::remove_file(self.plan.directory.join("ottla.pid"));
    }

    fn last_lines(&self) -> String {
        let path = self.plan.log();
        let read = || -> std::io::Result<String> {
            let mut file = fs::File::open(&path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(LAST_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        match read() {
            Ok(text) => {
                let lines: Vec<&str> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
                format!("The end of {}:\n  {last}", path.display())
            }
            Err(error) => format!("Its log {} cannot be read: {error}", path.display()),
        }
    }
}
