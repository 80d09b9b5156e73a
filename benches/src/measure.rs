//! What the process has used: processor time and memory. Never wall time: the machine may be busy.

use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process so far (user and system), in seconds.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

/// The most memory this process has had in use, in bytes; 0 where the system does not tell.
#[must_use]
pub fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Runs `work`; gives its result and the processor time it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = cpu_seconds();
    let out = work();
    (out, cpu_seconds() - before)
}
