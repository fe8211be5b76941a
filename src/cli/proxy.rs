//! `flowtap proxy`: intercepts, captures into a bundle, and sums up.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, never};
#[cfg(unix)]
use signal_hook::consts::SIGXFSZ;

use crate::capture::queue;
use crate::capture::recorder::{Progress, Recorder, RecorderConfig, RecorderHandle, Summary};
use crate::cli::agents::{Channel, Prepared, Serving};
use crate::cli::running;
use crate::cli::settings;
use crate::cli::status::Status;
use crate::cli::words::size;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits::{DISK_SLOW, WEBSOCKET_MESSAGES};
use crate::net::server::{Bound, Server, ServerParts};
use crate::notice::{Notice, Notices};
use crate::options::SharedOptions;
use crate::proxy::context::DeviceCertificate;
use crate::stats::Stats;
use crate::tls::authority::{Authority, AuthoritySource, Origin};
use crate::tls::cert_cache::CertCache;
use crate::tls::server::ServerTls;
use crate::tls::upstream::UpstreamTls;

/// Runs until a signal stops it and the bundle is whole.
///
/// # Errors
/// When something keeps it from starting, before anything listens to clients; or when the bundle
/// could not be written whole.
pub fn run(config: &Config, channel: Channel) -> Result<()> {
    let stats = Arc::new(Stats::default());
    let (notices, notice_receiver) = Notices::channel(stats.clone());
    let options = Arc::new(SharedOptions::new(config.options.clone()));
    let bound = Bound::new(config.listen)?;
    let agents = Prepared::new(config, &options, channel)?;
    let authority = open_authority(config)?;
    let (upstream_tls, warnings) = UpstreamTls::new(config.insecure_upstream)?;
    for warning in warnings {
        notices.give(Notice::Warning(warning));
    }
    let certificate = DeviceCertificate {
        pem: authority.certificate_pem().into_bytes(),
        der: authority.certificate_der().to_vec(),
        pkcs12: authority.pkcs12(),
    };
    let server_tls = ServerTls::new(Arc::new(CertCache::new(authority.clone())))
        .map_err(|error| Error::new(format!("TLS cannot be set up: {error}")))?;
    // What comes before leaves nothing behind and may be interrupted as any program.
    let signals = running::signals()?;
    outlive_file_limit();
    let (recorder, flows) = start_recorder(config, &stats, &notices)?;
    let parts = ServerParts {
        server_tls: Some(server_tls),
        upstream_tls: Some(upstream_tls),
        certificate,
        flows,
        live: agents.as_ref().map(Prepared::sender),
        mcp: agents.as_ref().and_then(Prepared::address),
        options: options.clone(),
        discovered: None,
        stats: stats.clone(),
        notices,
    };
    let server = Server::start(config, bound, parts)?;
    let mut status = Status::new(stats.clone(), authority.path().to_owned());
    let mcp = agents.as_ref().and_then(Prepared::address);
    let serving = agents.map(|agents| agents.serve(config, &server, &options, &stats));
    let mut serving = serving.transpose()?;
    start_lines(config, &server, mcp, &authority, &mut status);
    if let Some(serving) = &mut serving {
        status.show_flows(serving.lines(&options));
        if channel == Channel::Stdio {
            serving.serve_stdio(server.stopper())?;
        }
    }
    let served = running::attend(server, &signals, &notice_receiver, &mut status, &never());
    let served = served.and(serving.map_or(Ok(()), Serving::stop));
    let summary = recorder.map(|recorder| finish(recorder, &notice_receiver, &mut status));
    for notice in notice_receiver.try_iter() {
        status.notice(notice);
    }
    status.finish();
    if let Some(summary) = &summary {
        status.line(&sum_up(summary, stats.messages_left_out.get()));
    }
    served?;
    match summary.and_then(|summary| summary.error) {
        None => Ok(()),
        Some(error) => Err(Error::new(error)),
    }
}

/// Has a write past the process's limit on the size of files fail, as on a full disk; its signal
/// would end the process.
fn outlive_file_limit() {
    #[cfg(unix)]
    // Where it cannot be caught, the limit ends the capture as it ends other programs.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// Waits for the bundle, and tells the user how far it is.
fn finish(recorder: RecorderHandle, notices: &Receiver<Notice>, status: &mut Status) -> Summary {
    let mut patience = Patience::new(Instant::now());
    recorder.finish(&mut |progress| {
        for notice in notices.try_iter() {
            status.notice(notice);
        }
        let text = format!("packing: {} of {} flows", progress.packed, progress.recorded);
        if patience.is_over(Instant::now(), progress) {
            status.line(&format!("{text}; the disk is slow"));
        }
        status.show(&text);
    })
}

/// Tells when packing stands still.
struct Patience {
    progress: Progress,
    since: Instant,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Patience { progress: Progress { packed: 0, recorded: 0 }, since: now }
    }

    /// Whether the user should be told: again and again while nothing moves.
    fn is_over(&mut self, now: Instant, progress: Progress) -> bool {
        let is_over = now.duration_since(self.since) >= DISK_SLOW;
        if is_over || progress != self.progress {
            self.since = now;
        }
        let has_moved = std::mem::replace(&mut self.progress, progress) != progress;
        is_over && !has_moved
    }
}

fn open_authority(config: &Config) -> Result<Arc<Authority>> {
    let home = settings::home();
    let source = AuthoritySource {
        confdir: &config.confdir,
        confdir_given: config.confdir_given,
        file: config.ca.as_deref(),
        home: home.as_deref(),
    };
    Authority::open(&source).map(Arc::new)
}

type Recording = (Option<RecorderHandle>, Option<queue::FlowSender>);

fn start_recorder(config: &Config, stats: &Arc<Stats>, notices: &Notices) -> Result<Recording> {
    let Some(output) = &config.output else { return Ok((None, None)) };
    let (sender, receiver) = queue::queue();
    let recorder = RecorderConfig {
        output: output.clone(),
        app: config.app.clone(),
        part_traces: config.part_traces,
    };
    let recorder = Recorder::start(recorder, receiver, stats.clone(), notices.clone())?;
    Ok((Some(recorder), Some(sender)))
}

/// Every address and path, one to a line, in a form that scripts can read.
fn start_lines(
    config: &Config,
    server: &Server,
    mcp: Option<SocketAddr>,
    authority: &Authority,
    status: &mut Status,
) {
    status.line(&format!("proxy  http://{}", server.address()));
    if let Some(mcp) = mcp {
        status.line(&format!("mcp    http://{mcp}/sse"));
    }
    status.line(&format!("ca     {}", authority.path().display()));
    if let Some(output) = &config.output {
        status.line(&format!("output {}", output.display()));
    }
    if authority.origin() == Origin::Mitmproxy {
        status.line("note: this is mitmproxy's CA, which your trust stores may hold already");
    }
    if others_can_read(authority.path()) {
        status.line(&format!(
            "WARNING: others can read the CA's key; end that with chmod 600 {}",
            authority.path().display()
        ));
    }
    if !server.address().ip().is_loopback() {
        status.line(
            "WARNING: other machines can reach this proxy, send traffic through it and have it \
             decrypted and recorded",
        );
    }
    if config.insecure_upstream {
        status.line("WARNING: the certificates of servers are not verified");
    }
}

/// Whether users other than its owner can read a file.
fn others_can_read(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

fn sum_up(summary: &Summary, messages_left_out: u64) -> String {
    let mut text = format!(
        "{} traces, {} WebSocket connections, {} messages, {} of bodies in {:.1} s",
        summary.traces,
        summary.websockets,
        summary.messages,
        size(summary.bytes),
        summary.duration.as_secs_f64()
    );
    for path in &summary.paths {
        // Writing to a String does not fail.
        let _ = write!(text, "\n{}", path.display());
    }
    if summary.bodies_cut > 0 {
        let cut = summary.bodies_cut;
        let _ = write!(text, "\n{cut} bodies were cut at --capture-body-limit");
    }
    if messages_left_out > 0 {
        let _ = write!(
            text,
            "\n{messages_left_out} messages were left out, of connections with more than {}",
            WEBSOCKET_MESSAGES
        );
    }
    if summary.lost > 0 {
        let _ = write!(text, "\n{} flows were LOST", summary.lost);
    }
    if summary.messages_lost > 0 {
        let _ = write!(text, "\n{} WebSocket messages were LOST", summary.messages_lost);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn packing_that_stands_still_is_told_of_again_and_again() {
        let began = Instant::now();
        let mut patience = Patience::new(began);
        let mut at = |seconds: u64, packed: u64| {
            let now = began + Duration::from_secs(seconds);
            patience.is_over(now, Progress { packed, recorded: 9 })
        };
        assert!(!at(1, 1) && !at(5, 2) && !at(9, 2));
        assert!(at(10, 2) && !at(11, 2) && at(15, 2));
        assert!(!at(21, 3) && !at(25, 3) && at(26, 3));
    }
}
