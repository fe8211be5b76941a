//! From flows to the bundle: a bounded queue, a recorder thread, a journal and the ZIP.

mod archive;
mod backlog;
pub mod bundle;
pub mod entry;
pub mod export;
pub mod frame;
pub mod har;
pub mod journal;
mod json;
mod pace;
mod packer;
mod packing;
mod patch;
mod place;
mod private;
pub mod queue;
pub mod read;
pub mod recorder;
pub mod recover;
mod remains;
mod shelf;
mod spill;
mod spool;
mod trace;
mod websocket;
mod writer;
