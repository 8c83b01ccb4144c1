//! `subtide bench engine`: how fast the parts are on this machine.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Args;
use inference::{
    compute::{ComputeType, EngineOptions},
    device::DeviceChoice,
    measure::{self, Figure, Plan},
};
use serde_json::json;

use crate::{
    output::{OutputError, print_line},
    recording::Recording,
};

/// The sound that speech is measured with; it is repeated to fill the longest window.
const SOUND: &str = "models/demo-speech/demo.wav";
const SAMPLE_RATE: usize = 16_000;
const SOUND_SECONDS: usize = 30;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct EngineArgs {
    /// Speech model, a directory in the Hugging Face layout.
    #[arg(long)]
    pub speech: Option<PathBuf>,
    /// Translation model (Marian), a directory with rows.json: lists of source tokens.
    #[arg(long)]
    pub translation: Option<PathBuf>,
    /// Sound to measure speech with, 16 kHz.
    #[arg(long, default_value = SOUND)]
    pub sound: PathBuf,
    /// cpu, cuda, cuda:N or metal.
    #[arg(long, default_value_t = DeviceChoice::default())]
    pub device: DeviceChoice,
    /// auto, int8, bf16, f16, f32 or tf32.
    #[arg(long, default_value_t = ComputeType::default())]
    pub compute: ComputeType,
    /// CPU threads; 0: as many as there are cores, at most 8.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Rounds of each case; the best and the middle one are told.
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
    /// Only cases whose names start so; may be given several times.
    #[arg(long = "case")]
    pub cases: Vec<String>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Measures and prints.
///
/// # Errors
/// When a model or the sound cannot be used.
pub fn run(args: &EngineArgs) -> anyhow::Result<()> {
    let engine = EngineOptions { device: args.device, compute: args.compute, threads: args.threads };
    let plan = Plan { engine, rounds: args.rounds, cases: args.cases.clone() };
    let sound = sound(&args.sound)?;
    print(args, "", &measure::features(&plan, &sound)?)?;
    if let Some(dir) = &args.speech {
        print(args, &name(dir), &measure::speech(&plan, dir, &sound)?)?;
    }
    if let Some(dir) = &args.translation {
        print(args, &name(dir), &measure::translation(&plan, dir)?)?;
    }
    Ok(print_memory(args)?)
}

fn name(dir: &Path) -> String {
    dir.file_name().map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// 30 s of it, -1 to 1.
fn sound(path: &Path) -> anyhow::Result<Vec<f32>> {
    let mut recording = Recording::open(path)?;
    let rate = recording.format().sample_rate as usize;
    ensure!(rate == SAMPLE_RATE, "{} has {rate} samples a second, not {SAMPLE_RATE}", path.display());
    let mut samples = Vec::new();
    while let Some(piece) = recording.next_piece()? {
        samples.extend(piece.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0));
    }
    ensure!(!samples.is_empty(), "{} is empty", path.display());
    Ok(samples.iter().copied().cycle().take(SOUND_SECONDS * SAMPLE_RATE).collect())
}

fn print(args: &EngineArgs, model: &str, figures: &[Figure]) -> Result<(), OutputError> {
    for figure in figures {
        if args.json {
            let line = json!({
                "case": figure.case, "value": figure.best, "min": figure.best, "median": figure.median,
                "unit": figure.unit, "compute": args.compute.to_string(), "device": args.device.to_string(),
                "threads": args.threads, "model": model, "tokens": figure.tokens,
            });
            print_line(&line.to_string())?;
        } else {
            print_line(&format!(
                "{model:>16}  {:<22} {:>10.3} {} (median {:.3})",
                figure.case, figure.best, figure.unit, figure.median
            ))?;
        }
    }
    Ok(())
}

/// The most memory this process ever had, where the system tells.
fn print_memory(args: &EngineArgs) -> Result<(), OutputError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    let Some(megabytes) = peak.map(|kilobytes| kilobytes / 1024.0) else { return Ok(()) };
    if args.json {
        let line = json!({ "case": "memory", "value": megabytes, "unit": "MB", "compute": args.compute.to_string() });
        print_line(&line.to_string())
    } else {
        print_line(&format!("{:>16}  {:<22} {megabytes:>10.0} MB at its largest", "", "memory"))
    }
}
