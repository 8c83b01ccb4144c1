//! `subtide`: all of Subtide in one program.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use shared::{
    config::ConfigError,
    language::{Language, Source},
    role_process::Fault,
    telemetry,
};
use subtide::{admin, bench, caption, demo, dev_cert, models, output, serve, sign_in, watch};

/// Live captions and live translation of speech, on machines you own.
#[derive(Debug, Parser)]
#[command(name = "subtide", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays a recording through the whole pipeline, then serves the web page for your own microphone.
    Demo {
        /// Languages to translate into, separated by commas.
        #[arg(long, value_delimiter = ',', default_value = "es")]
        to: Vec<Language>,
        /// One event a line as JSON, with `at_ms` since the first sample.
        #[arg(long)]
        json: bool,
        /// End after the recording.
        #[arg(long)]
        once: bool,
    },
    /// Serves gateway, speech and translation from this one process (settings: see infra/env.example).
    Serve,
    /// Captions and translates a recording: wav, flac, mp3 or ogg.
    Caption {
        /// The recording; `-` is standard input.
        file: PathBuf,
        /// Language spoken, or `auto`.
        #[arg(long, default_value = "auto")]
        from: Source,
        /// Languages to translate into, separated by commas.
        #[arg(long, value_delimiter = ',')]
        to: Vec<Language>,
        /// One event of the protocol a line, as JSON.
        #[arg(long)]
        json: bool,
        /// Partial captions as well (with --json).
        #[arg(long, requires = "json")]
        partials: bool,
        /// A running gateway to use, `ws://HOST:PORT/v1/stream`; its token comes from SUBTIDE_TOKEN.
        #[arg(long)]
        server: Option<String>,
        /// Refresh token left by `subtide sign-in --token-file`, in place of SUBTIDE_TOKEN.
        #[arg(long, requires = "server")]
        token_file: Option<PathBuf>,
    },
    /// Signs in at a server with the browser of this machine, and prints an access token for SUBTIDE_TOKEN.
    SignIn(sign_in::SignInArgs),
    /// Measures how fast the parts are on this machine.
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Makes a certificate for a LAN (TLS_CERT, TLS_KEY): browsers give a microphone to secure pages only.
    DevCert(dev_cert::DevCertArgs),
    /// Gets and lists models.
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
    /// How it is, live in a terminal: sessions, queues, workers, latencies, errors.
    Top(watch::TopArgs),
    /// The same figures once; exit status 0: well, 1: something is wrong, 2: nothing can be reached.
    Status(watch::StatusArgs),
    /// People, API keys, tokens, usage and audit, on the database of the gateways (DATABASE_URL, REDIS_URL).
    Admin(admin::AdminArgs),
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Encoder, decoder and translation of models, alone and in batches.
    Engine(bench::engine::EngineArgs),
    /// What watching costs: the whole pipeline with metrics, logs and traces, and without, by turns.
    Observability(bench::observability::ObservabilityArgs),
    /// Captions and translations while they stream: a corpus in real time through the whole pipeline.
    Stream(bench::stream::StreamArgs),
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Downloads a model into MODELS_DIR; goes on where an earlier download broke off.
    Pull(models::PullArgs),
    /// Lists the models in MODELS_DIR.
    List,
}

/// Exit status of a configuration that cannot be used (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    let outcome = match command.unwrap_or(Command::Demo { to: demo::default_targets(), json: false, once: false }) {
        Command::Demo { to, json, once } => demo::run(demo::Options { to, json, once }).await,
        Command::Serve => serve::run().await,
        Command::Caption { file, from, to, json, partials, server, token_file } => {
            caption::run(caption::Options { file, from, to, json, partials, server, token_file }).await
        }
        Command::SignIn(args) => sign_in::run(args).await,
        Command::Bench { command: BenchCommand::Engine(args) } => bench::engine::run(&args),
        Command::Bench { command: BenchCommand::Stream(args) } => bench::stream::run(args).await,
        Command::Bench { command: BenchCommand::Observability(args) } => bench::observability::run(args).await,
        Command::DevCert(args) => dev_cert::run(&args),
        Command::Models { command: ModelsCommand::Pull(args) } => models::pull(args).await,
        Command::Models { command: ModelsCommand::List } => models::list(),
        Command::Top(args) => watch::top(args).await,
        Command::Status(args) => match watch::status(args).await {
            Ok(code) => return ExitCode::from(code),
            Err(error) => Err(error),
        },
        Command::Admin(args) => admin::run(args).await,
    };
    telemetry::shutdown().await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("subtide: {error:#}");
            let code = if error.is::<ConfigError>() { EX_USAGE } else { 1 };
            ExitCode::from(error.downcast_ref::<Fault>().map_or(code, Fault::exit_code))
        }
    }
}
