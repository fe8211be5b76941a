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
pub mod discover;
pub mod export;
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
        Request::Run { command, flags, arguments } => match command {
            Command::Run => return run::run(&settings::run(flags, arguments)?),
            Command::Proxy => proxy::run(&settings::proxy(flags, arguments)?, Channel::PortAlone),
            Command::Mcp => mcp::run(&settings::mcp(flags, arguments)?),
            Command::Discover => discover::run(&settings::discover(flags, arguments)?),
            Command::Inspect => {
                let settings = settings::inspect(flags, arguments)?;
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
            Command::Check => check::run(&settings::check(flags, arguments)?),
            Command::Export => {
                proxy::outlive_file_limit();
                export::run(&settings::export(flags, arguments)?)
            }
            Command::Recover => {
                proxy::outlive_file_limit();
                recover::run(&settings::recover(flags, arguments)?)
            }
            Command::Ca => ca::show(&settings::ca(flags, arguments)?),
            Command::CaInstall => ca::install(&settings::ca_install(flags, arguments)?),
            Command::CaUninstall => ca::uninstall(&settings::ca_uninstall(flags, arguments)?),
            Command::CaExport => ca::export(&settings::ca_export(flags, arguments)?),
            Command::CaCheck => ca::check(&settings::ca_check(flags, arguments)?),
            Command::Completions => {
                let script = completions::script(settings::shell(arguments)?, &flags::entries());
                results::print(script.as_bytes())
            }
            Command::Man => {
                settings::none_left("man", &arguments)?;
                results::print(man::page(&flags::entries()).as_bytes())
            }
        },
    };
    done.map(|()| 0)
}
