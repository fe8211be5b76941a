//! The `flowtap` program: flags to a command, a command's error to words and an exit status.

use std::io::{Write, stderr};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Err(error) = flowtap::cli::run(std::env::args_os().skip(1)) else {
        return ExitCode::SUCCESS;
    };
    let (hint, status) = match error.is_usage() {
        true => (" (flowtap --help tells more)", 2),
        false => ("", 1),
    };
    // Where standard error is closed the status alone has to tell.
    let _ = stderr().write_all(format!("flowtap: {error}{hint}\n").as_bytes());
    ExitCode::from(status)
}
