//! Words from and to the user: the flags, the commands, the live line and the summary.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use crate::error::Result;
use crate::fault;

mod agents;
pub mod ca;
mod check;
mod colour;
pub mod completions;
mod config;
pub mod discover;
pub mod export;
mod files;
pub mod flags;
mod flow_lines;
mod gathered;
pub mod inspect;
pub mod lines;
pub mod man;
mod mcp;
mod packing;
mod printer;
pub mod proxy;
mod qr;
pub mod recover;
mod results;
mod run;
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

/// Does what a command line, without the program's name, asks for. Gives the exit status.
pub fn run(words: impl IntoIterator<Item = OsString>) -> Result<u8> {
    fault::install_hook();
    let done = match flags::parse(words)? {
        Request::Help(command) => {
            results::print(flags::help_within(command, status::columns()).as_bytes())
        }
        Request::Version => results::print(VERSION.as_bytes()),
        Request::Run { command, flags, arguments } => {
            let given = files::gather(command, flags, arguments)?;
            return run_command(command, &given);
        }
    };
    done.map(|()| 0)
}

fn run_command(command: Command, given: &Given) -> Result<u8> {
    let done = match command {
        Command::Run => return run::run(&given.read(settings::run)?),
        Command::Proxy => proxy::run(&given.read(settings::proxy)?, Channel::PortAlone),
        Command::Mcp => mcp::run(&given.read(settings::mcp)?),
        Command::Discover => discover::run(&given.read(settings::discover)?),
        Command::Inspect => {
            let settings = given.read(settings::inspect)?;
            let terminal = io::stdout().is_terminal();
            let mut out = io::BufWriter::new(io::stdout().lock());
            let streams = inspect::Streams {
                out: &mut out,
                warnings: &mut io::stderr(),
                colour: colour::is_coloured(settings.colour, &io::stdout()),
                terminal,
            };
            inspect::run(&settings, streams)
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
        Command::Ca => ca::show(&given.read(settings::ca)?),
        Command::CaInstall => ca::install(&given.read(settings::ca_install)?),
        Command::CaUninstall => ca::uninstall(&given.read(settings::ca_uninstall)?),
        Command::CaExport => ca::export(&given.read(settings::ca_export)?),
        Command::CaCheck => ca::check(&given.read(settings::ca_check)?),
        Command::Config => config::run(given),
        Command::Completions => {
            let shell = given.read(|_, arguments| settings::shell(arguments))?;
            results::print(completions::script(shell, &flags::entries()).as_bytes())
        }
        Command::Man => {
            given.read(|_, arguments| settings::none_left("man", &arguments))?;
            results::print(man::page(&flags::entries()).as_bytes())
        }
    };
    done.map(|()| 0)
}
