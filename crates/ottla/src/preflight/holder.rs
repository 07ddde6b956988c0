//! Who holds a port or a lock, as far as `/proc` tells this user. Only for messages.

use std::fs;
use std::path::Path;

/// Processes looked through at most: a message is not worth more.
const PROCESSES_MAX: usize = 10_000;
/// State of a listening socket in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTEN: &str = "0A";

fn name(pid: u32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        Err(_) => format!("process {pid}"),
    }
}

/// Who listens on this port; `None` if it cannot be told, as for another user's process.
pub fn of_port(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let socket = format!("socket:[{inode}]");
    let pids = fs::read_dir("/proc").ok()?.flatten().take(PROCESSES_MAX);
    let holds = |pid: &u32| {
        let handles = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        handles
            .filter_map(|handle| fs::read_link(handle.path()).ok())
            .any(|target| target == Path::new(&socket))
    };
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(holds)
        .map(name)
}

/// `sl local_address rem_address st … uid timeout inode …`
fn listening_inode(table: &str, port: u16) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = words.get(1)?.rsplit_once(':')?;
        (words.get(3) == Some(&LISTEN) && u16::from_str_radix(local, 16) == Ok(port)).then_some(())?;
        words.get(9).map(ToString::to_string)
    })
}

/// Who has a lock on the file with this inode.
pub fn of_lock(inode: u64) -> Option<String> {
    locking_pid(&fs::read_to_string("/proc/locks").ok()?, inode).map(name)
}

/// `1: FLOCK  ADVISORY  WRITE 1234 fe:01:654321 0 EOF`; a process of another namespace has the number 0 or -1.
fn locking_pid(table: &str, inode: u64) -> Option<u32> {
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, number) = words.get(5)?.rsplit_once(':')?;
        let pid = words.get(4)?.parse().ok().filter(|pid| *pid > 0)?;
        (number.parse() == Ok(inode)).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_kernel() {
        let sockets = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:2384 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n\
             1: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n";
        assert_eq!(listening_inode(sockets, 9092), Some("4711".to_owned()));
        assert_eq!(listening_inode(sockets, 9093), None);
        assert_eq!(listening_inode("", 9092), None);
        let locks =
            "1: POSIX  ADVISORY  WRITE 99 fe:01:7 0 EOF\n2: FLOCK  ADVISORY  WRITE -1 fe:01:8 0 EOF\n1: -> FLOCK\n";
        assert_eq!(locking_pid(locks, 7), Some(99));
        assert_eq!(locking_pid(locks, 8), None);
        assert_eq!(locking_pid("x\n\n", 8), None);
    }
}
