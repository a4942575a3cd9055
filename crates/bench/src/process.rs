//! What another process has used, from `/proc`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

/// What Linux counts a process's time in, whatever the clock of its kernel (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// User and system time, counted from behind the command's name.
const UTIME: usize = 11;

pub struct Process(PathBuf);

impl Process {
    pub fn of(pid: u32) -> Process {
        Process(PathBuf::from(format!("/proc/{pid}")))
    }

    /// User and system time of all its threads so far.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(self.0.join("stat"))?;
        // The name may have spaces, and brackets.
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        let ticks = fields.split_whitespace().skip(UTIME).take(2).map(str::parse::<u32>);
        Ok(TICK * ticks.sum::<std::result::Result<u32, _>>()?)
    }

    /// The most memory that was resident.
    pub fn peak_rss_bytes(&self) -> Result<u64> {
        Ok(self.status("VmHWM:")? << 10)
    }

    /// What of its memory is resident.
    pub fn rss_bytes(&self) -> Result<u64> {
        Ok(self.status("VmRSS:")? << 10)
    }

    pub fn threads(&self) -> Result<usize> {
        Ok(usize::try_from(self.status("Threads:")?)?)
    }

    /// How many are open, sockets among them.
    pub fn files(&self) -> Result<usize> {
        Ok(std::fs::read_dir(self.0.join("fd"))?.count())
    }

    /// TCP connections that are established, from other ports of its own than `port`.
    pub fn connections(&self, port: u16) -> Result<usize> {
        let mut sockets = BTreeSet::new();
        for file in std::fs::read_dir(self.0.join("fd"))? {
            // One that has been closed meanwhile is none.
            let Ok(link) = std::fs::read_link(file?.path()) else { continue };
            let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
            sockets.extend(inode.map(str::to_owned));
        }
        let mut connections = 0;
        // The tables have the sockets of all processes. Where there is no IPv6, there is no second one.
        for table in ["net/tcp", "net/tcp6"].map(|table| self.0.join(table)).iter().filter(|table| table.exists()) {
            let table = std::fs::read_to_string(table)?;
            connections += table.lines().filter_map(established).filter(|(own, inode)| *own != port && sockets.contains(*inode)).count();
        }
        Ok(connections)
    }

    /// The number behind `name`, of kB where it is memory.
    fn status(&self, name: &str) -> Result<u64> {
        let status = std::fs::read_to_string(self.0.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} in status"))?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

/// Its own port and its inode, of a line of `net/tcp` for a connection that is established.
fn established(line: &str) -> Option<(u16, &str)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let (_, port) = local.rsplit_once(':')?;
    (*state == "01").then_some((u16::from_str_radix(port, 16).ok()?, *inode))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn only_established_connections_count() {
        let listens = "   0: 0100007F:1937 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 8140 1 0";
        let connected = "   1: 0100007F:1937 0100007F:D431 01 00000000:00000000 00:00000000 00000000  0  0 8141 1 0";
        let lines = ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode", listens, connected];
        assert_eq!(lines.into_iter().filter_map(established).collect::<Vec<_>>(), [(6_455, "8141")]);
    }

    #[test]
    fn the_connections_of_a_port_are_left_out() {
        let this = Process::of(std::process::id());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _served = listener.accept().unwrap();
        assert_eq!((this.connections(port).unwrap(), this.connections(0).unwrap()), (1, 2));
        drop(client);
        assert!(this.threads().unwrap() > 0 && this.files().unwrap() > 2 && this.rss_bytes().unwrap() <= this.peak_rss_bytes().unwrap());
    }
}
