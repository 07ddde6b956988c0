//! `powerloss`: mounts the layer, and tells a mounted one what to do.

use clap::{Parser, Subcommand};
use fuser::{Config, MountOption, Session};
use powerloss::{COMMANDS, Control, Layer, Owner, State, Tree};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Threads that answer the kernel: a sync that takes its time must not hold up other calls.
const THREADS: usize = 8;

/// A file system that forgets what was not synced: power loss for real processes.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  powerloss mount /tmp/disk --backing /tmp/backing --control /tmp/control\n  powerloss tell /tmp/control lose 7"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Mount an empty file system, say `ready`, and unmount it when standard input ends. Needs root and /dev/fuse
    #[command(after_help = "Example:\n  powerloss mount /tmp/disk --backing /tmp/backing --control /tmp/control")]
    Mount {
        /// Where to mount it: a directory that exists
        mountpoint: PathBuf,
        /// Directory for the bytes; what an earlier mount left there is deleted
        #[arg(long)]
        backing: PathBuf,
        /// Unix socket on which it takes commands
        #[arg(long)]
        control: PathBuf,
    },
    /// Give a mounted layer a command; the answer is a line of JSON
    #[command(after_help = format!("Commands: {COMMANDS}\n\nExample:\n  powerloss tell /tmp/control lose 7"))]
    Tell {
        /// The socket given as --control
        control: PathBuf,
        /// The command and what belongs to it
        #[arg(required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Mount {
            mountpoint,
            backing,
            control,
        } => mount(&mountpoint, backing, &control),
        Command::Tell { control, command } => tell(&control, &command),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("powerloss: {error}");
            ExitCode::FAILURE
        }
    }
}

fn within<T>(what: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", what.display())))
}

fn mount(mountpoint: &Path, backing: PathBuf, control: &Path) -> io::Result<ExitCode> {
    let owner = Owner {
        mode: 0o755,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
    };
    let tree = within(&backing.clone(), Tree::create(backing, owner))?;
    let layer = Layer::new(State::new(tree));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("powerloss".into()), MountOption::DefaultPermissions];
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    let session = within(mountpoint, Session::new(layer.clone(), mountpoint, &config))?.spawn()?;

    if control.exists() {
        std::fs::remove_file(control)?;
    }
    let listener = within(control, UnixListener::bind(control))?;
    let commands = Control::new(layer, session.notifier());
    std::thread::spawn(move || commands.serve(&listener));
    println!("ready");
    io::stdout().flush()?;

    io::stdin().read_to_end(&mut Vec::new())?;
    // What still has a file open keeps it, and gets an error for it.
    within(
        mountpoint,
        Ok(rustix::mount::unmount(mountpoint, rustix::mount::UnmountFlags::DETACH)?),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn tell(control: &Path, command: &[String]) -> io::Result<ExitCode> {
    let mut connection = within(control, UnixStream::connect(control))?;
    connection.write_all(format!("{}\n", command.join(" ")).as_bytes())?;
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer)?;
    print!("{answer}");
    Ok(if answer.starts_with("{\"error\"") {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
