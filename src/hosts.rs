//! Which hosts are intercepted and recorded: the patterns of `-d` and `-e`.

/// The rules that `-d` and `-e` make.
#[derive(Clone, Debug, Default)]
pub struct HostRules {}
