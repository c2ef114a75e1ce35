//! What the system tells of a process: its memory, and how many files and connections it has open.

use std::fs;

/// Its memory in bytes, as far as it is resident.
pub fn resident(process: u32) -> u64 {
    bytes_of(process, "VmRSS:")
}

/// The most of it that was resident at any time.
pub fn most_resident(process: u32) -> u64 {
    bytes_of(process, "VmHWM:")
}

/// Files and sockets.
pub fn open_files(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

fn bytes_of(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mut fields = status.lines().filter_map(|line| line.strip_prefix(field));
    let kilobytes = fields.next().and_then(|line| line.trim().split(' ').next());
    1024 * kilobytes
        .and_then(|number| number.parse().ok())
        .unwrap_or(0_u64)
}
