//! From flows to the bundle: a bounded queue, a recorder thread, a journal and the ZIP.

pub mod bundle;
pub mod journal;
pub mod queue;
pub mod read;
pub mod recorder;
