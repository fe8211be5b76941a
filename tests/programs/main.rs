//! Real programs through a real flowtap: each must work as it does without a proxy, and each of
//! its flows must stand in the bundle. `tests/run.sh` installs the programs.

// A helper that fails ends its test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod bundle;
#[path = "../support/capture.rs"]
mod capture;
mod chromium;
mod curl;
mod git;
mod har;
mod mcp;
mod mcp_stdio;
mod node;
mod openapi;
mod process;
mod python;
mod report;
mod run;
mod run_languages;
mod run_packages;
mod run_process;
mod setting;
#[path = "../support/toolbox.rs"]
mod toolbox;
