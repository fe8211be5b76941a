//! The `flowtap` program: flags to a command, its end to an exit status, its error to words.

use std::process::ExitCode;

fn main() -> ExitCode {
    let error = match flowtap::cli::run(std::env::args_os().skip(1)) {
        Ok(status) => return ExitCode::from(status),
        Err(error) => error,
    };
    let hint = if error.is_usage() { " (flowtap --help tells more)" } else { "" };
    flowtap::cli::last_words(format!("flowtap: {error}{hint}\n"));
    ExitCode::from(error.status())
}
