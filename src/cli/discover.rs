//! `flowtap discover`: intercepts nothing and lists the hosts that are talked to.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::cli::proxy::warn_of_others;
use crate::cli::running::{self, Attended};
use crate::cli::status::Status;
use crate::cli::words::visible;
use crate::config::Config;
use crate::discovered::{Discovered, Table};
use crate::error::Result;
use crate::net::server::{Bound, Server, ServerParts};
use crate::notice::Notices;
use crate::options::{Options, SharedOptions};
use crate::proxy::context::DeviceCertificate;
use crate::stats::Stats;
use crate::tls::upstream::UpstreamTls;

/// Runs until a signal stops it; prints hosts as they are first seen and the table at the end.
///
/// # Errors
/// When something keeps it from starting, or its results cannot be printed.
pub fn run(config: &Config) -> Result<()> {
    // Only requests in absolute form for https, and https proxies, need it; without roots those
    // alone fail.
    let upstream_tls = match UpstreamTls::new(false, &config.upstream_ca) {
        Ok((tls, _)) => Some(tls),
        Err(error) if !config.upstream_ca.is_empty() => return Err(error),
        Err(_) => None,
    };
    let signals = running::signals()?;
    let stats = Arc::new(Stats::default());
    let (notices, notice_receiver) = Notices::channel(stats.clone());
    let bound = Bound::new(config.listen)?;
    let (discovered, first_seen) = Discovered::new();
    let discovered = Arc::new(discovered);
    let parts = ServerParts {
        server_tls: None,
        upstream_tls,
        certificate: DeviceCertificate::default(),
        flows: None,
        live: None,
        mcp: None,
        options: Arc::new(SharedOptions::new(Options::default())),
        discovered: Some(discovered.clone()),
        stats: stats.clone(),
        notices,
    };
    let server = Server::start(config, bound, parts)?;
    let mut status = Status::new(stats, String::new())?;
    status.line(&format!("proxy  http://{}", server.address()));
    for line in &config.upstream_lines {
        status.line(line);
    }
    warn_of_others(server.address(), "", &mut status);
    let attended = Attended {
        signals: &signals,
        notices: &notice_receiver,
        results: first_seen,
        at_stop: &|| {},
    };
    let result = running::attend(server, attended, &mut status);
    status.finish();
    result.and(status.end_with(render(&discovered.table()), &signals))
}

/// The table, and the line to type next.
fn render(table: &Table) -> String {
    let mut text = String::from("\ncount  host\n");
    for (host, count) in &table.hosts {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{count:>5}  {}", visible(host));
    }
    if table.others > 0 {
        let _ = writeln!(text, "{:>5}  (other hosts)", table.others);
    }
    if !table.hosts.is_empty() {
        text.push_str("\nflowtap proxy");
        for (host, _) in &table.hosts {
            let _ = write!(text, " -d '{}'", visible(host));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_followed_by_the_next_line_to_type() {
        let hosts = vec![("a.example".to_owned(), 12), ("b.example:8443".to_owned(), 3)];
        let text = render(&Table { hosts, others: 2 });
        let expected = "\ncount  host\n   12  a.example\n    3  b.example:8443\n    \
                        2  (other hosts)\n\nflowtap proxy -d 'a.example' -d 'b.example:8443'\n";
        assert_eq!(text, expected);
        assert_eq!(render(&Table::default()), "\ncount  host\n");
    }
}
