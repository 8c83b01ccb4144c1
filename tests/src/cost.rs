//! What a process costs: processor time and memory, as the kernel counts them.

use std::{
    fs,
    time::{Duration, Instant},
};

/// The kernel counts processor time in hundredths of a second (`getconf CLK_TCK` on every Linux there is).
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of a process so far, seconds; `None` where it is gone.
#[must_use]
pub fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field, the name, may hold anything; behind its bracket come the others from the third on.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

/// Memory that a process holds, KiB; `None` where it is gone.
#[must_use]
pub fn resident_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The same, MiB.
#[must_use]
pub fn resident_mib(process: u32) -> Option<f64> {
    resident_kib(process).map(|kib| kib as f64 / 1024.0)
}

/// Measures the processor time of a process from one moment to another.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    process: u32,
    since: Instant,
    seconds: f64,
}

impl Meter {
    /// From now on.
    #[must_use]
    pub fn start(process: u32) -> Self {
        Self { process, since: Instant::now(), seconds: cpu_seconds(process).unwrap_or_default() }
    }

    /// Cores kept busy since the start.
    #[must_use]
    pub fn cores(&self) -> f64 {
        (cpu_seconds(self.process).unwrap_or_default() - self.seconds) / self.elapsed().as_secs_f64().max(0.001)
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_and_so_is_memory() {
        let meter = Meter::start(std::process::id());
        while meter.cores() < 0.01 && meter.elapsed() < Duration::from_secs(60) {
            std::hint::black_box((0..100_000_u64).sum::<u64>());
        }
        assert!(meter.cores() >= 0.01);
        assert!(resident_kib(std::process::id()).unwrap() > 1000);
        assert_eq!((cpu_seconds(u32::MAX), resident_kib(u32::MAX)), (None, None));
    }
}
