//! What the benchmarks share: the flowtap under test, a load through it, and an origin behind it.
//!
//! Load and origin take one thread each, so that on a machine with few cores most of the CPU time
//! is left to flowtap.
#![expect(dead_code, reason = "each benchmark uses a part of it")]

pub(crate) mod flowtap;
pub(crate) mod head;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod origin;
pub(crate) mod system;
pub(crate) mod tls;
