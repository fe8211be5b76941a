//! The `flowtap` program: flags to a command, its end to an exit status, its error to words.

use std::process::ExitCode;

use flowtap::cli::words::visible;

fn main() -> ExitCode {
    let error = match flowtap::cli::run(std::env::args_os().skip(1)) {
        Ok(status) => return ExitCode::from(status),
        Err(error) => error,
    };
    let hint = if error.is_usage() { " (flowtap --help tells more)" } else { "" };
    // Files that others wrote, and their names, are quoted.
    let words = error.to_string();
    flowtap::cli::last_words(format!("flowtap: {}{hint}\n", visible(&words)));
    ExitCode::from(error.status())
}
