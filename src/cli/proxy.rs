//! `flowtap proxy`: intercepts, captures into a bundle, and sums up.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::{Receiver, never};
#[cfg(unix)]
use signal_hook::consts::SIGXFSZ;

use crate::capture::queue;
use crate::capture::recorder::{Recorder, RecorderConfig, RecorderHandle, Summary};
use crate::cli::agents::{Channel, Prepared, Serving};
use crate::cli::packing;
use crate::cli::running::{self, Attended, Stop};
use crate::cli::settings;
use crate::cli::status::Status;
use crate::cli::words::size;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits::WEBSOCKET_MESSAGES;
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
    run_on(Bound::new(config.listen)?, config, channel, running::signals)
}

fn run_on(
    bound: Bound,
    config: &Config,
    channel: Channel,
    signals: impl FnOnce() -> Result<Receiver<Stop>>,
) -> Result<()> {
    let stats = Arc::new(Stats::default());
    let (notices, notice_receiver) = Notices::channel(stats.clone());
    let options = Arc::new(SharedOptions::new(config.options.clone()));
    let agents = Prepared::new(config, &options, channel)?;
    let authority = open_authority(config)?;
    let (upstream_tls, warnings) = UpstreamTls::new(config.insecure_upstream, &config.upstream_ca)?;
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
    let signals = signals()?;
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
        notices: notices.clone(),
    };
    let mut status = Status::new(stats.clone(), authority.certificate_path())?;
    let server = Server::start(config, bound, parts)?;
    let mcp = agents.as_ref().and_then(Prepared::address);
    let serve = |agents: Prepared| agents.serve(config, &server, &options, &stats, &notices);
    let mut serving = agents.map(serve).transpose()?;
    start_lines(config, &server, mcp, &authority, &mut status);
    if let Some(serving) = &mut serving {
        status.show_flows(serving.lines(&options));
        if channel == Channel::Stdio {
            serving.serve_stdio(server.stopper(), &notices)?;
        }
    }
    let attended = Attended {
        signals: &signals,
        notices: &notice_receiver,
        results: never(),
        at_stop: &|| serving.iter().for_each(Serving::at_stop),
    };
    let served = running::attend(server, attended, &mut status);
    let served = served.and(serving.map_or(Ok(()), Serving::stop));
    let attend = |recorder| packing::attend(recorder, &signals, &notice_receiver, &mut status);
    let summary = recorder.map(attend);
    for notice in notice_receiver.try_iter() {
        status.notice(notice);
    }
    end(served, summary, &stats, status)
}

/// Sums up. What has failed first is the reason of the end.
fn end(
    served: Result<()>,
    summary: Option<Summary>,
    stats: &Stats,
    mut status: Status,
) -> Result<()> {
    status.finish();
    if let Some(summary) = &summary {
        status.line(&sum_up(summary, stats));
    }
    status.end();
    served?;
    match summary.and_then(|summary| summary.error) {
        None => Ok(()),
        Some(error) => Err(Error::new(error)),
    }
}

/// Has a write past the process's limit on the size of files fail, as on a full disk; its signal
/// would end the process.
pub(super) fn outlive_file_limit() {
    #[cfg(unix)]
    // Where it cannot be caught, the limit ends flowtap as it ends other programs.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
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
    for line in &config.upstream_lines {
        status.line(line);
    }
    if authority.origin() == Origin::Mitmproxy {
        status.line("note: this is mitmproxy's CA, which your trust stores may hold already");
    }
    if let Some(why) = authority.readable_by_others() {
        status.line(&format!("WARNING: the CA file has a key, and {why}"));
    }
    let consequences = match config.options.proxyauth {
        None => {
            ", and have it decrypted and recorded (--set proxyauth=USER:PASSWORD asks them \
                 for credentials)"
        }
        Some(_) => {
            ", and have it decrypted and recorded, if they know the credentials of proxyauth"
        }
    };
    warn_of_others(server.address(), consequences, status);
    if config.insecure_upstream {
        status.line("WARNING: the certificates of servers are not verified");
    }
}

/// Says so where other machines reach the proxy too, and what comes of it for them.
pub(super) fn warn_of_others(address: SocketAddr, consequences: &str, status: &mut Status) {
    if !address.ip().to_canonical().is_loopback() {
        status.line(&format!(
            "WARNING: other machines can reach this proxy and send traffic through it, also to \
             what listens on this machine alone{consequences}"
        ));
    }
}

fn sum_up(summary: &Summary, stats: &Stats) -> String {
    let messages_left_out = stats.messages_left_out.get();
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
    let faults = stats.faults.get();
    if faults > 0 {
        let _ = write!(text, "\n{faults} FAULTS in flowtap; please report them");
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
mod tests;
