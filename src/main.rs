//! The `flowtap` program: flags to a command, a command's error to words and an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Err(error) = flowtap::cli::run(std::env::args_os().skip(1)) else {
        return ExitCode::SUCCESS;
    };
    let hint = if error.is_usage() { " (flowtap --help tells more)" } else { "" };
    flowtap::cli::last_words(format!("flowtap: {error}{hint}\n"));
    ExitCode::from(error.status())
}
