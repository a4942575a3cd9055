//! What another process has used, from `/proc`.

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
        let status = std::fs::read_to_string(self.0.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in status")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }
}
