//! Words from and to the user: the flags, the commands, the live line and the summary.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use crate::error::Result;
use crate::fault;

mod agents;
mod check;
pub mod completions;
mod config;
pub mod discover;
pub mod export;
mod files;
pub mod flags;
mod flow_lines;
pub mod inspect;
pub mod lines;
pub mod man;
mod mcp;
mod packing;
mod printer;
pub mod proxy;
pub mod recover;
mod results;
mod running;
pub mod settings;
pub mod status;
mod stdio;
mod verdict;
pub mod words;

use agents::Channel;
use files::Given;
use flags::{Command, Request};
pub use printer::last_words;

const VERSION: &str = concat!("flowtap ", env!("CARGO_PKG_VERSION"), "\n");

/// Does what a command line, without the program's name, asks for.
pub fn run(words: impl IntoIterator<Item = OsString>) -> Result<()> {
    fault::install_hook();
    match flags::parse(words)? {
        Request::Help(command) => {
            results::print(flags::help_within(command, status::columns()).as_bytes())
        }
        Request::Version => results::print(VERSION.as_bytes()),
        Request::Run { command, flags, arguments } => {
            let given = files::gather(command, flags, arguments)?;
            run_command(command, &given)
        }
    }
}

fn run_command(command: Command, given: &Given) -> Result<()> {
    match command {
        Command::Proxy => proxy::run(&given.read(settings::proxy)?, Channel::PortAlone),
        Command::Mcp => mcp::run(&given.read(settings::mcp)?),
        Command::Discover => discover::run(&given.read(settings::discover)?),
        Command::Inspect => {
            let settings = given.read(settings::inspect)?;
            let colour = io::stdout().is_terminal() && !status::no_colour();
            let mut out = io::BufWriter::new(io::stdout().lock());
            inspect::run(&settings.bundle, settings.trace.as_deref(), &mut out, colour)
        }
        Command::Check => check::run(&given.read(settings::check)?),
        Command::Export => {
            proxy::outlive_file_limit();
            export::run(&given.read(settings::export)?)
        }
        Command::Recover => {
            proxy::outlive_file_limit();
            recover::run(&given.read(settings::recover)?)
        }
        Command::Config => config::run(given),
        Command::Completions => {
            let shell = given.read(|_, arguments| settings::shell(arguments))?;
            results::print(completions::script(shell, &flags::entries()).as_bytes())
        }
        Command::Man => {
            given.read(|_, arguments| settings::none_left("man", &arguments))?;
            results::print(man::page(&flags::entries()).as_bytes())
        }
    }
}
