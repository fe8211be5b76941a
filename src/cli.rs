//! Words from and to the user: the flags, the commands, the live line and the summary.

pub mod inspect;
