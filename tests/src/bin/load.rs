//! `load`: many sessions against a gateway, and what it costs. See docs/BENCHMARKS.md, "The gateway under load".

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use shared::shutdown;
use tests::{
    cost::Meter,
    figure::figure,
    load::{
        bench,
        crowd::{Scene, generate},
        engine,
    },
};

/// Many sessions in real time, with real speech.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Speaks to a gateway and checks that nothing is lost; ends with 1 when something was.
    Generate {
        /// Its stream, such as ws://127.0.0.1:5026/v1/stream.
        #[arg(long)]
        url: String,
        /// Sessions at once.
        #[arg(long, default_value_t = 20)]
        sessions: usize,
        /// How long they speak once all are there, seconds.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// Languages to translate into.
        #[arg(long, value_delimiter = ',')]
        targets: Vec<String>,
    },
    /// A speech worker that answers at once, with text that says nothing.
    Engine {
        /// Where the bus is, such as redis://127.0.0.1:6379/.
        #[arg(long)]
        redis: String,
    },
    /// Measures the gateway that was built beside this program, on a Redis of its own.
    GatewayBench {
        /// Sessions, step by step, until a step is not sustained.
        #[arg(long, value_delimiter = ',', default_values_t = [250, 500, 750, 1000, 1500, 2000])]
        steps: Vec<usize>,
        /// How long each step is measured, seconds.
        #[arg(long, default_value_t = 15)]
        seconds: u64,
        /// Connections that send no audio; 0: leave that out.
        #[arg(long, default_value_t = 10_000)]
        idle: usize,
        /// The detector that the gateway listens with, earshot or webrtc.
        #[arg(long, default_value = bench::DEFAULT_VAD)]
        vad: String,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().what {
        What::Generate { url, sessions, seconds, targets } => {
            let meter = Meter::start(std::process::id());
            let scene = Scene::at(&url, targets).await?;
            let summary = generate(scene, sessions, Duration::from_secs(seconds)).await;
            summary.print("load");
            figure("load_own_cores", meter.cores());
            if let Some(why) = &summary.why {
                say(&format!("a session broke: {why}"));
            }
            let whole = summary.broken == 0 && summary.faults.none();
            Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        What::Engine { redis } => {
            engine::serve(&redis, shutdown::on_signal()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        What::GatewayBench { steps, seconds, idle, vad } => {
            let length = Duration::from_secs(seconds);
            if idle > 0 {
                bench::idle(idle, length).await?.print();
            }
            gateway_bench(&steps, length, &vad).await
        }
    }
}

async fn gateway_bench(steps: &[usize], length: Duration, vad: &str) -> anyhow::Result<ExitCode> {
    let (done, end) = bench::ramp(steps, length, vad, |step| say(&step.line())).await?;
    end.print("gateway_bench");
    if bench::print(&done) {
        return Ok(ExitCode::SUCCESS);
    }
    say("no step was sustained");
    Ok(ExitCode::FAILURE)
}

#[expect(clippy::print_stdout, reason = "the words between the figures")]
fn say(line: &str) {
    println!("{line}");
}
