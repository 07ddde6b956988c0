//! The layer mounted, under programs that sync as they should and under programs that do not: the layer is itself tested.
//! Needs root and /dev/fuse; says so and passes where they are missing.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Power losses per program: each of its mistakes must show within these, and a correct one must stand all.
const SEEDS: u64 = 60;

struct Mounted {
    directory: tempfile::TempDir,
    layer: Child,
}

impl Mounted {
    fn new() -> Option<Self> {
        let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        if !root || !Path::new("/dev/fuse").exists() {
            eprintln!("skipped: needs root and /dev/fuse");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("mount")).unwrap();
        let mut layer = Command::new(env!("CARGO_BIN_EXE_powerloss"))
            .arg("mount")
            .arg(path("mount"))
            .arg("--backing")
            .arg(path("backing"))
            .arg("--control")
            .arg(path("control"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(layer.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n", "the layer did not mount");
        Some(Self { directory, layer })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("mount").join(name)
    }

    fn root(&self) -> PathBuf {
        self.path("")
    }

    fn tell(&self, command: &str) -> serde_json::Value {
        let mut control = std::os::unix::net::UnixStream::connect(self.directory.path().join("control")).unwrap();
        writeln!(control, "{command}").unwrap();
        let mut answer = String::new();
        BufReader::new(control).read_line(&mut answer).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.layer.stdin.take());
        let _ = self.layer.wait();
    }
}

fn sync_dir(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

/// What a program may leave out.
#[derive(Clone, Copy, PartialEq)]
enum Forgets {
    Nothing,
    FileSync,
    DirectorySync,
}

/// Replaces `config` by write, sync, rename and sync, and appends to a log in a directory of its own, which it makes first.
/// It takes each for done when its calls return; `check` holds it to that.
fn program(root: &Path, round: u8, forgets: Forgets) -> io::Result<()> {
    let temporary = root.join("config.tmp");
    fs::write(&temporary, [round; 3000])?;
    let file = File::open(&temporary)?;
    if forgets != Forgets::FileSync {
        file.sync_all()?;
    }
    fs::rename(&temporary, root.join("config"))?;
    sync_dir(root);

    let home = root.join(format!("logs-{round}"));
    fs::create_dir(&home)?;
    let log = File::options().create(true).append(true).open(home.join("log"))?;
    if forgets != Forgets::DirectorySync {
        sync_dir(&home);
        sync_dir(root);
    }
    for record in 0..5u8 {
        (&log).write_all(&[record; 700])?;
        log.sync_data()?;
    }
    Ok(())
}

/// What of the program's round is not there.
fn check(root: &Path, round: u8) -> Option<String> {
    let expected: Vec<u8> = (0..5u8).flat_map(|record| [record; 700]).collect();
    let log = root.join(format!("logs-{round}")).join("log");
    match (fs::read(root.join("config")), fs::read(&log)) {
        (Ok(config), Ok(log)) if config == [round; 3000] && log == expected => None,
        (config, log) => Some(format!(
            "config {:?}, log {:?}",
            config.map(|bytes| bytes.len()),
            log.map(|bytes| bytes.len())
        )),
    }
}

/// Power losses after which something that the program took for done was missing.
fn losses_noticed(forgets: Forgets) -> Option<u64> {
    let disk = Mounted::new()?;
    let mut noticed = 0;
    for seed in 0..SEEDS {
        let round = seed as u8;
        program(&disk.root(), round, forgets).unwrap();
        disk.tell(&format!("lose {seed}"));
        noticed += u64::from(check(&disk.root(), round).is_some());
        // The next round starts from what is left.
        let _ = fs::remove_file(disk.path("config.tmp"));
    }
    assert_eq!(disk.tell("stats")["losses"], SEEDS);
    Some(noticed)
}

#[test]
fn a_program_that_syncs_what_it_must_loses_nothing_over_many_seeds() {
    if let Some(noticed) = losses_noticed(Forgets::Nothing) {
        assert_eq!(
            noticed, 0,
            "a correct program lost data in {noticed} of {SEEDS} power losses"
        );
    }
}

#[test]
fn a_missing_file_sync_is_caught() {
    if let Some(noticed) = losses_noticed(Forgets::FileSync) {
        assert!(noticed > SEEDS / 5, "noticed in {noticed} of {SEEDS} power losses only");
    }
}

#[test]
fn a_missing_directory_sync_is_caught() {
    if let Some(noticed) = losses_noticed(Forgets::DirectorySync) {
        assert!(noticed > SEEDS / 5, "noticed in {noticed} of {SEEDS} power losses only");
    }
}

#[test]
fn a_missing_sync_after_a_rename_is_caught() {
    let Some(disk) = Mounted::new() else { return };
    // Alone: the program above syncs the directory once more for its log, which covers the rename.
    let noticed = (0..SEEDS)
        .filter(|seed| {
            let replace = |content: &[u8], synced: bool| {
                fs::write(disk.path("config.tmp"), content).unwrap();
                File::open(disk.path("config.tmp")).unwrap().sync_all().unwrap();
                fs::rename(disk.path("config.tmp"), disk.path("config")).unwrap();
                if synced {
                    sync_dir(&disk.root());
                }
            };
            replace(b"old", true);
            replace(b"new", false);
            disk.tell(&format!("lose {seed}"));
            let left = fs::read(disk.path("config")).unwrap();
            assert!(
                left == b"old" || left == b"new",
                "a rename is atomic, and left {left:?}"
            );
            left == b"old"
        })
        .count();
    assert!(noticed > 10, "noticed in {noticed} of {SEEDS} power losses only");
}

#[test]
fn unsynced_pages_are_kept_lost_torn_and_out_of_order() {
    let Some(disk) = Mounted::new() else { return };
    let (mut kept, mut lost, mut torn, mut reordered) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let name = format!("file-{seed}");
        let file = File::create_new(disk.path(&name)).unwrap();
        file.write_all_at(&[1; 4096], 0).unwrap();
        file.sync_data().unwrap();
        sync_dir(&disk.root());
        for page in 1..4u64 {
            file.write_all_at(&[page as u8 + 1; 4096], page * 4096).unwrap();
        }
        drop(file);
        disk.tell(&format!("lose {seed}"));
        let mut bytes = fs::read(disk.path(&name)).unwrap();
        assert_eq!(bytes[..4096], [1; 4096], "seed {seed}: a synced page changed");
        bytes.resize(16_384, 0);
        let there: Vec<usize> = (1..4)
            .map(|page| bytes[page * 4096..][..4096].iter().filter(|byte| **byte != 0).count())
            .collect();
        kept += usize::from(there == [4096; 3]);
        lost += usize::from(there == [0; 3]);
        torn += usize::from(there.iter().any(|count| count % 4096 != 0));
        reordered += usize::from(there[0] == 0 && there[2] == 4096);
    }
    assert!(
        kept > 0 && lost > 0 && torn > 0 && reordered > 0,
        "kept {kept}, lost {lost}, torn {torn}, out of order {reordered}"
    );
}

#[test]
fn what_was_open_when_the_power_went_is_of_no_use_afterwards() {
    let Some(disk) = Mounted::new() else { return };
    let file = File::create_new(disk.path("file")).unwrap();
    file.write_all_at(b"synced", 0).unwrap();
    file.sync_all().unwrap();
    sync_dir(&disk.root());
    file.write_all_at(b"never.", 0).unwrap();
    disk.tell("forget");
    assert_eq!(file.sync_all().unwrap_err().raw_os_error(), Some(libc::EIO));
    assert!(file.write_all_at(b"late", 0).is_err());
    assert_eq!(fs::read(disk.path("file")).unwrap(), b"synced");
}

#[test]
fn a_sync_of_a_range_makes_nothing_durable() {
    let Some(disk) = Mounted::new() else { return };
    let file = File::create_new(disk.path("file")).unwrap();
    sync_dir(&disk.root());
    file.write_all_at(b"bytes", 0).unwrap();
    let status = Command::new("python3")
        .args(["-c", "import ctypes, os, sys\nlibc = ctypes.CDLL(None)\nfd = os.open(sys.argv[1], os.O_RDWR)\nsys.exit(libc.sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(5), 7) != 0)"])
        .arg(disk.path("file"))
        .status()
        .unwrap();
    assert!(status.success());
    disk.tell("forget");
    assert_eq!(fs::read(disk.path("file")).unwrap(), b"");
}

#[test]
fn a_failed_sync_loses_the_pages_and_a_failed_write_and_a_full_disk_change_nothing() {
    let Some(disk) = Mounted::new() else { return };
    let code = |result: io::Result<()>| result.unwrap_err().raw_os_error();
    fs::create_dir(disk.path("data")).unwrap();
    let file = File::create_new(disk.path("data/file")).unwrap();
    let other = File::create_new(disk.path("other")).unwrap();
    sync_dir(&disk.path("data"));
    sync_dir(&disk.root());

    disk.tell("fail-sync data/");
    file.write_all_at(b"lost", 0).unwrap();
    assert_eq!(code(file.sync_data()), Some(libc::EIO));
    other.write_all_at(b"kept", 0).unwrap();
    other.sync_data().unwrap();
    disk.tell("heal");
    // As Linux has it: the pages count as clean.
    file.sync_data().unwrap();

    disk.tell("fail-write data/");
    assert_eq!(code(file.write_all_at(b"never", 4)), Some(libc::EIO));
    disk.tell("heal");
    disk.tell("full");
    assert_eq!(code(other.write_all_at(b"never", 4)), Some(libc::ENOSPC));
    assert_eq!(code(File::create_new(disk.path("more")).map(drop)), Some(libc::ENOSPC));
    assert_eq!(rustix::fs::statvfs(disk.root()).unwrap().f_bavail, 0);
    disk.tell("heal");

    assert_eq!(fs::read(disk.path("data/file")).unwrap(), b"lost");
    drop((file, other));
    disk.tell("forget");
    assert_eq!(fs::read(disk.path("data/file")).unwrap(), b"");
    assert_eq!(fs::read(disk.path("other")).unwrap(), b"kept");
}

#[test]
fn a_flipped_bit_is_read_by_all_and_outlives_a_power_loss() {
    let Some(disk) = Mounted::new() else { return };
    fs::write(disk.path("file"), [0; 10_000]).unwrap();
    let file = File::open(disk.path("file")).unwrap();
    file.sync_all().unwrap();
    sync_dir(&disk.root());
    let mut byte = [9];
    file.read_exact_at(&mut byte, 5000).unwrap();
    assert_eq!(byte, [0]);
    disk.tell("flip file 5000");
    file.read_exact_at(&mut byte, 5000).unwrap();
    assert_eq!(byte, [16]);
    drop(file);
    disk.tell("forget");
    assert_eq!(fs::read(disk.path("file")).unwrap()[5000], 16);
}

#[test]
fn files_without_a_name_links_and_directories_work_as_on_any_file_system() {
    let Some(disk) = Mounted::new() else { return };
    fs::create_dir(disk.path("a")).unwrap();
    for index in 0..300 {
        fs::write(disk.path("a").join(index.to_string()), index.to_string()).unwrap();
    }
    assert_eq!(fs::read_dir(disk.path("a")).unwrap().count(), 300);
    fs::hard_link(disk.path("a/7"), disk.path("seven")).unwrap();
    let open = File::open(disk.path("a/8")).unwrap();
    fs::rename(disk.path("a"), disk.path("b")).unwrap();
    assert_eq!(
        fs::rename(disk.path("b/9"), disk.path("9")).unwrap_err().raw_os_error(),
        Some(libc::EXDEV)
    );
    fs::remove_dir_all(disk.path("b")).unwrap();
    assert_eq!(fs::read(disk.path("seven")).unwrap(), b"7");
    assert_eq!(io::read_to_string(&open).unwrap(), "8");
    assert!(!disk.path("b").exists());

    // Cut and extended; room asked for behind the end is none of its size.
    let file = File::options().write(true).open(disk.path("seven")).unwrap();
    file.set_len(0).unwrap();
    file.set_len(3).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, 1 << 20).unwrap();
    assert_eq!(fs::read(disk.path("seven")).unwrap(), [0; 3]);
}
