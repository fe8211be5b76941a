//! From flows to the bundle: a bounded queue, a recorder thread, a journal and the ZIP.

mod archive;
mod backlog;
pub mod bundle;
#[allow(dead_code, reason = "the commands that print it are made of it")]
pub(crate) mod curl;
pub mod entry;
pub mod export;
pub(crate) mod flow;
pub mod frame;
pub mod har;
pub mod journal;
mod json;
pub(crate) mod matching;
mod pace;
mod packer;
mod packing;
pub(crate) mod parts;
mod patch;
mod place;
pub(crate) mod private;
pub mod queue;
pub mod read;
pub mod recorder;
pub mod recover;
mod remains;
mod shelf;
mod spill;
mod spool;
mod suspension;
mod trace;
mod websocket;
mod websocket_files;
mod writer;
