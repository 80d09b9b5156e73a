//! Processor time of this thread, which a busy machine does not change.

/// Seconds of processor time so far; wall time where the kernel does not tell.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub fn seconds() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(
        || {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.map_or(0.0, |d| d.as_secs_f64())
        },
        |n| n / 1e9,
    )
}
