//! What a run costs: processor time, memory, and how busy the graphics processor was.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{process::Command, task::JoinHandle, time::sleep};

use super::figures::tenth;

/// How often memory and the graphics processor are looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// Ticks of a second in `/proc/PID/stat` (proc(5): `USER_HZ`, 100 on every Linux).
const TICKS: f64 = 100.0;

/// Watches this process from its making on.
#[derive(Debug)]
pub(super) struct Watch {
    cpu_at_start: Option<f64>,
    samples: Arc<Mutex<Samples>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Samples {
    resident_mb: Vec<f64>,
    gpu_percent: Vec<f64>,
}

impl Samples {
    fn add(&mut self, gpu_percent: Option<f64>) {
        self.resident_mb.extend(resident_mb());
        self.gpu_percent.extend(gpu_percent);
    }
}

/// What a run cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cost {
    /// Processor seconds of this process, all threads; `None` where the system does not tell.
    pub(super) cpu_seconds: Option<f64>,
    /// Resident memory at the start, after each quarter and at the end, megabytes.
    pub(super) resident_mb: Vec<f64>,
    /// Mean use of the graphics processor, percent; `None` without one.
    pub(super) gpu_percent: Option<f64>,
}

impl Watch {
    /// Begins to watch. `gpu`: whether `nvidia-smi` is to be asked.
    pub(super) fn start(gpu: bool) -> Self {
        let samples = Arc::new(Mutex::new(Samples::default()));
        let held = Arc::clone(&samples);
        let task = tokio::spawn(async move {
            loop {
                let percent = if gpu { gpu_percent().await } else { None };
                held.lock().unwrap_or_else(PoisonError::into_inner).add(percent);
                sleep(INTERVAL).await;
            }
        });
        Self { cpu_at_start: cpu_seconds("self"), samples, task }
    }

    /// Ends it.
    pub(super) fn stop(self) -> Cost {
        self.task.abort();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.resident_mb.extend(resident_mb());
        let gpu = &samples.gpu_percent;
        Cost {
            cpu_seconds: cpu_seconds("self").zip(self.cpu_at_start).map(|(now, then)| now - then),
            resident_mb: quarters(&samples.resident_mb),
            gpu_percent: (!gpu.is_empty()).then(|| gpu.iter().sum::<f64>() / gpu.len() as f64),
        }
    }
}

impl Cost {
    /// For machines. `audio_ms`: audio that was played meanwhile, all sessions added up.
    pub(super) fn json(&self, audio_ms: u64) -> Value {
        json!({
            "cpu_seconds": self.cpu_seconds.map(tenth),
            "cpu_seconds_an_audio_second": self.cpu_share(audio_ms),
            "resident_mb_at_quarters": self.resident_mb.iter().copied().map(tenth).collect::<Vec<_>>(),
            "gpu_percent": self.gpu_percent.map(tenth),
        })
    }

    /// Processor seconds by second of audio.
    pub(super) fn cpu_share(&self, audio_ms: u64) -> Option<f64> {
        self.cpu_seconds.filter(|_| audio_ms > 0).map(|seconds| seconds * 1000.0 / audio_ms as f64)
    }
}

/// The first, the last and the three between that part them evenly.
fn quarters(values: &[f64]) -> Vec<f64> {
    let Some(last) = values.len().checked_sub(1) else { return Vec::new() };
    (0..=4).map(|quarter| values[(last * quarter + 2) / 4]).collect()
}

/// Processor seconds of a process, by its id or `self`; `None` where the system does not tell.
pub(in crate::bench) fn cpu_seconds(process: &str) -> Option<f64> {
    cpu_ticks(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?).map(|ticks| ticks / TICKS)
}

/// Fields 14 and 15 of proc(5): ticks in user and in kernel mode. The name, field 2, may hold blanks; it ends with `)`.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let mut after_name = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, kernel): (f64, f64) = (after_name.next()?.parse().ok()?, after_name.next()?.parse().ok()?);
    Some(user + kernel)
}

fn resident_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}

async fn gpu_percent() -> Option<f64> {
    let mut command = Command::new("nvidia-smi");
    command.args(["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]);
    let output = command.kill_on_drop(true).output().await.ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_ticks(stat), Some(300.0));
        assert_eq!(cpu_ticks("7 (a) S"), None);
    }

    #[test]
    fn quarters_are_spread_over_all() {
        assert_eq!(quarters(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(quarters(&[3.0]), [3.0; 5]);
        assert!(quarters(&[]).is_empty());
    }
}
