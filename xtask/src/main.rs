//! `cargo xtask test | install | prove NAME | fuzz`: how Subtide is tested and proven. README.md tells what they do.
//!
//! # Layout
//! - [`test`]: every test; [`host`]: what tests need of the machine; [`training`]: the Python packages of `training/`
//! - [`prove`]: figures beside their goals
//! - [`fuzz`]: inputs that nobody thought of
//! - [`workspace`]: where things are, and running programs

mod fuzz;
mod host;
mod prove;
mod test;
mod training;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Tests Subtide and measures what it promises")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Installs what the tests need where it may, builds, and runs every test
    Test {
        /// For `cargo test`, instead of `--workspace`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Installs what building and testing everything needs, where it may
    Install,
    /// Measures the promises of a piece of work; prints each figure beside its goal
    Prove(prove::Arguments),
    /// Gives everything that reads what others wrote inputs that nobody thought of; wants the nightly compiler
    Fuzz(fuzz::Arguments),
}

fn main() -> ExitCode {
    let done = Workspace::find().and_then(|workspace| match Arguments::parse().command {
        Command::Test { arguments } => test::every_test(&workspace, &arguments).map(|()| ExitCode::SUCCESS),
        Command::Install => test::install(&workspace).map(|()| ExitCode::SUCCESS),
        Command::Prove(arguments) => prove::run(&workspace, &arguments),
        Command::Fuzz(arguments) => fuzz::run(&workspace, &arguments),
    });
    done.unwrap_or_else(|error| {
        workspace::say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
