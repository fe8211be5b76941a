//! Doing what a plan says.

use std::fs;
use std::io;

use super::{CaCertificate, Plan, Runner, Step};
use crate::tls::ca_file::{make_folder, replace_whole};

/// Does the steps of a plan in order, and stops at the first that fails. `told` hears of each
/// before it is done.
///
/// # Errors
/// What failed, in words.
pub fn apply(
    plan: &Plan,
    ca: &CaCertificate,
    runner: &mut dyn Runner,
    told: &mut dyn FnMut(&str),
) -> Result<(), String> {
    for step in &plan.steps {
        told(&step.text(ca));
        match step {
            Step::Write(path) => replace_whole(path, ca.pem.as_bytes(), 0o644)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?,
            Step::Remove(path) => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(format!("cannot remove {}: {error}", path.display()));
                }
                _ => {}
            },
            Step::MakeFolder(path) => make_folder(path)
                .map_err(|error| format!("cannot make {}: {error}", path.display()))?,
            Step::Run(command) => {
                let input = if command.reads_certificate { ca.pem.as_bytes() } else { &[] };
                let program = command.program.display();
                let ran = runner
                    .run(command, input)
                    .map_err(|error| format!("{program} cannot be started: {error}"))?;
                if !ran.success {
                    return Err(format!("{program} failed: {}", words(&ran)));
                }
            }
        }
    }
    Ok(())
}

/// What a command that failed says of it, in one line.
fn words(ran: &super::Ran) -> String {
    let output = String::from_utf8_lossy(&ran.output);
    let said = if ran.error.is_empty() { output.trim() } else { &ran.error };
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "it does not say why".to_owned() } else { lines.join("; ") }
}
