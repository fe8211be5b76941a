//! Which hosts are intercepted and recorded: the patterns of `-d` and `-e`.

/// The rules that `-d` and `-e` make.
#[derive(Clone, Debug, Default)]
pub struct HostRules {}
impl HostRules {
    /// x
    pub fn decide(&self, _: &str, _: u16, _: Option<&str>) -> bool {
        true
    }
    /// x
    pub fn needs_server_name(&self, _: &str) -> bool {
        true
    }
}
