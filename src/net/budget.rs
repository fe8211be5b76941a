//! How the descriptors of the process are shared out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{MCP_CONNECTIONS, POOL_CONNECTIONS, RESERVED_DESCRIPTORS};

/// What the loops may have open.
pub(super) struct Budget {
    /// Sockets of all loops together, beyond which no server is connected to.
    pub(super) sockets_most: usize,
    /// The same, beyond which no client is accepted.
    pub(super) sockets_max: usize,
    /// Idle upstream connections of each loop.
    pub(super) pool_max: usize,
}

impl Budget {
    /// Idle upstream connections have a quarter of the descriptors at the most; an eighth is left
    /// to the servers of clients that were accepted. `serves_mcp` keeps those of agents free.
    pub(super) fn new(descriptors: usize, loops: usize, serves_mcp: bool) -> Self {
        let agents = if serves_mcp { mcp_connections(descriptors) } else { 0 };
        let reserved = usize::try_from(RESERVED_DESCRIPTORS).unwrap_or(usize::MAX);
        let reserved = reserved.saturating_add(agents);
        // Where there are few, both have too few, but both have some.
        let sockets = descriptors.saturating_sub(reserved.min(descriptors / 2));
        Budget {
            sockets_most: sockets.max(2),
            sockets_max: (sockets - sockets / 8).max(2),
            pool_max: (descriptors / 4 / loops).clamp(1, POOL_CONNECTIONS),
        }
    }
}

/// Connections to the MCP port, of so many descriptors: what they take is kept from the recorder,
/// which must never be without.
pub(crate) fn mcp_connections(descriptors: usize) -> usize {
    (descriptors / 8).clamp(1, MCP_CONNECTIONS)
}

/// Raises the limit of open files as far as it goes; tells how far that is.
pub(crate) fn descriptors() -> usize {
    usize::try_from(raise_limit()).unwrap_or(usize::MAX)
}

fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    let Some(maximum) = limit.maximum.filter(|maximum| *maximum > current) else { return current };
    let raised = Rlimit { current: Some(maximum), maximum: Some(maximum) };
    if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_suffice_for_what_is_promised() {
        for descriptors in [64, 200, 1_024, 20_000, 1 << 20] {
            for (loops, serves_mcp) in [(1, true), (1, false), (2, true), (4, false), (4, true)] {
                let Budget { sockets_most, sockets_max, pool_max } =
                    Budget::new(descriptors, loops, serves_mcp);
                let agents = if serves_mcp { mcp_connections(descriptors) } else { 0 };
                let reserved = (192 + agents).min(descriptors / 2);
                assert!(sockets_max < sockets_most, "{descriptors}: {sockets_max}");
                assert_eq!(sockets_most + reserved, descriptors);
                assert!(agents <= reserved / 2 || reserved - agents == 192, "{descriptors}");
                assert!(pool_max * loops <= sockets_max && pool_max >= 1);
            }
        }
        let Budget { sockets_max, pool_max, .. } = Budget::new(20_000, 2, true);
        assert!(10_000 + 2 * pool_max < sockets_max, "10,000 idle clients are held");
        assert_eq!(mcp_connections(20_000), MCP_CONNECTIONS);
    }
}
