//! Words from and to the user: the flags, the commands, the live line and the summary.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use crate::error::Result;
use crate::fault;

mod agents;
pub mod discover;
pub mod export;
pub mod flags;
mod flow_lines;
pub mod inspect;
pub mod lines;
mod mcp;
mod packing;
mod printer;
pub mod proxy;
pub mod recover;
mod run;
mod running;
pub mod settings;
pub mod status;
mod stdio;
pub mod words;

use agents::Channel;
use flags::{Command, Request};
pub use printer::last_words;

/// Does what a command line, without the program's name, asks for. Gives the exit status.
pub fn run(words: impl IntoIterator<Item = OsString>) -> Result<u8> {
    fault::install_hook();
    let done = match flags::parse(words)? {
        Request::Help(command) => print(&flags::help(command)),
        Request::Version => print(&format!("flowtap {}\n", env!("CARGO_PKG_VERSION"))),
        Request::Run { command, flags, arguments } => match command {
            Command::Run => return run::run(&settings::run(flags, arguments)?),
            Command::Proxy => proxy::run(&settings::proxy(flags, arguments)?, Channel::PortAlone),
            Command::Mcp => mcp::run(&settings::mcp(flags, arguments)?),
            Command::Discover => discover::run(&settings::discover(flags, arguments)?),
            Command::Inspect => {
                let settings = settings::inspect(flags, arguments)?;
                let colour = io::stdout().is_terminal() && !status::no_colour();
                let mut out = io::BufWriter::new(io::stdout().lock());
                inspect::run(&settings.bundle, settings.trace.as_deref(), &mut out, colour)
            }
            Command::Export => {
                proxy::outlive_file_limit();
                export::run(&settings::export(flags, arguments)?)
            }
            Command::Recover => {
                proxy::outlive_file_limit();
                recover::run(&settings::recover(flags, arguments)?)
            }
        },
    };
    done.map(|()| 0)
}

/// Prints a result. A reader that has gone, as `head` does, is no failure.
fn print(text: &str) -> Result<()> {
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}
