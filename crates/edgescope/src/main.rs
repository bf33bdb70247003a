//! Edgescope: is it the network?
//!
//! This binary is wiring: it reads the configuration ([`config`]), runs one command ([`commands`]) and turns an error into one clear line.
//! Built without the `server` feature it is the node agent alone.
#![forbid(unsafe_code)]

mod client;
mod commands;
#[cfg(all(test, feature = "demo"))]
mod contracts;
mod show;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use edgescope::config;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Is it the network? Edgescope watches every TCP connection from the kernel and answers with a verdict, its place, its start, its
/// victims and its proof; or clears the network.
#[derive(Debug, Parser)]
#[command(
    name = "edgescope",
    version,
    arg_required_else_help = true,
    after_help = "\
Start here:
  edgescope demo        a shop, a fault, an alert and a verdict on real packets, in three minutes
  edgescope up          watch this host
  edgescope diagnose    is it the network?"
)]
struct Cli {
    /// Log more: -v debug, -vv trace.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "demo")]
    Demo(commands::demo::DemoArgs),
    #[cfg(feature = "server")]
    Up(commands::up::UpArgs),
    Agent(commands::agent::AgentArgs),
    #[cfg(feature = "server")]
    Server(commands::server::ServerArgs),
    Edges(commands::edges::EdgesArgs),
    Top(commands::top::TopArgs),
    Diagnose(commands::diagnose::DiagnoseArgs),
    Why(commands::why::WhyArgs),
    Dns(commands::dns::DnsArgs),
    Replay(commands::replay::ReplayArgs),
    Config(commands::config::ConfigArgs),
    Doctor(commands::doctor::DoctorArgs),
    /// Print a completion script for your shell.
    #[command(after_help = "\
Examples:
  source <(edgescope completion bash)                                     this shell only
  edgescope completion zsh > ~/.zfunc/_edgescope                          every zsh that has ~/.zfunc in its fpath
  edgescope completion fish > ~/.config/fish/completions/edgescope.fish   every fish")]
    Completion {
        /// Whose script.
        shell: clap_complete::Shell,
    },
    /// Runs a part of the demo's shop; the demo starts these itself.
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    Testbed {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

/// Commands that take configuration keys as flags.
const CONFIGURED: &[&str] = &["up", "agent", "server", "config", "doctor"];

fn command_line() -> clap::Command {
    let mut command = Cli::command();
    for name in CONFIGURED {
        if command.find_subcommand(name).is_some() {
            command = command.mut_subcommand(name, config::with_flags);
        }
    }
    command
}

fn main() -> ExitCode {
    let matches = command_line().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    start_log(cli.verbose, &cli.command);
    let keys = matches.subcommand().map(|(_, m)| m.clone()).unwrap_or_default();
    match run(cli, &keys) {
        Ok(code) => code,
        // Whoever read has read enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgescope: {}", in_one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// What failed, then why, outermost first; many an error says its cause already.
fn in_one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        before if before.contains(&cause) => said,
        before => format!("{before}: {cause}"),
    })
}

/// Runs the command; `keys` are its matches, with the configuration keys among them.
fn run(cli: Cli, keys: &ArgMatches) -> anyhow::Result<ExitCode> {
    match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => return commands::demo::run(&args),
        #[cfg(feature = "server")]
        Command::Up(args) => commands::up::run(&args, config::load(keys)?)?,
        Command::Agent(args) => commands::agent::run(&args, config::load(keys)?)?,
        #[cfg(feature = "server")]
        Command::Server(args) => commands::server::run(&args, config::load(keys)?)?,
        Command::Edges(args) => commands::edges::run(&args)?,
        Command::Top(args) => commands::top::run(&args)?,
        Command::Why(args) => commands::why::run(&args)?,
        Command::Dns(args) => commands::dns::run(&args)?,
        Command::Replay(args) => return commands::replay::run(&args),
        Command::Diagnose(args) => commands::diagnose::run(&args)?,
        Command::Config(args) => commands::config::run(&args, keys)?,
        Command::Doctor(args) => return commands::doctor::run(&args, &config::load(keys)?),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line(), "edgescope", &mut script);
            show::out(&String::from_utf8_lossy(&script))?;
        }
        #[cfg(feature = "demo")]
        Command::Testbed { arguments } => return commands::demo::part(&arguments),
    }
    Ok(ExitCode::SUCCESS)
}

/// Logs go to standard error, so that what commands print can be piped. `EDGESCOPE_LOG` takes tracing's filter syntax.
fn start_log(verbose: u8, command: &Command) {
    let usual = match command {
        // The story is all that it tells.
        #[cfg(feature = "demo")]
        Command::Demo(_) => "warn",
        _ => "info",
    };
    let level = [usual, "debug", "trace"][usize::from(verbose.min(2))];
    let default = format!(
        "warn,edgescope={level},edgescope_agent={level},edgescope_probe={level},edgescope_server={level},edgescope_store={level},edgescope_testbed=warn"
    );
    let filter = EnvFilter::try_from_env("EDGESCOPE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).with_target(false).init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn an_error_says_each_cause_once() {
        let of = |outer: &'static str| {
            let inner: anyhow::Result<()> = Err(io::Error::other("disk full").into());
            in_one_line(&inner.context(outer).expect_err("failed"))
        };
        assert_eq!(of("cannot write a"), "cannot write a: disk full");
        assert_eq!(of("cannot write a: disk full; make room"), "cannot write a: disk full; make room");
    }
}
