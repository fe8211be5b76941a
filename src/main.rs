//! The `flowtap` program: flags to a command, a command's error to words and an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    match flowtap::cli::run(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_usage() => {
            eprintln!("flowtap: {error} (flowtap --help tells more)");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("flowtap: {error}");
            ExitCode::FAILURE
        }
    }
}
