//! `flowtap proxy`: intercepts, captures into a bundle, and sums up. `run` and `mcp` share it.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::{Receiver, never};
#[cfg(unix)]
use signal_hook::consts::SIGXFSZ;

use crate::capture::queue;
use crate::capture::recorder::{Recorder, RecorderConfig, RecorderHandle, Summary};
use crate::cli::agents::{Channel, Prepared, Serving};
use crate::cli::packing;
use crate::cli::qr;
use crate::cli::running::{self, Attended, Stop};
use crate::cli::settings;
use crate::cli::status::Status;
use crate::cli::words::size;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits::WEBSOCKET_MESSAGES;
use crate::net::lan::lan_address;
use crate::net::server::{Bound, Server, ServerParts, Stopper};
use crate::notice::{Notice, Notices, count, count_were};
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
    let mut captured = capture(bound, config, &mut Foreground { channel, signals: Some(signals) })?;
    let told = captured.tell(false);
    captured.status.end();
    told
}

/// How a capture is begun and attended to.
pub(super) trait Manner {
    /// How agents reach the tools, beside the port of MCP.
    fn channel(&self) -> Channel {
        Channel::PortAlone
    }

    /// What stops it, taken from now on.
    fn signals(&mut self) -> Result<Receiver<Stop>>;

    /// Where the user is told of things. `ca` is named in advice.
    fn status(&self, stats: Arc<Stats>, ca: String) -> Result<Status>;

    /// Called when everything listens.
    fn begin(&mut self, begun: &Begun<'_>, status: &mut Status);

    /// Whether flows are shown as they end.
    fn shows_flows(&self) -> bool;
}

/// A capture that has begun.
pub(super) struct Begun<'a> {
    pub(super) config: &'a Config,
    /// Where the proxy listens.
    pub(super) address: SocketAddr,
    /// Where MCP is served.
    pub(super) mcp: Option<SocketAddr>,
    pub(super) authority: &'a Authority,
    pub(super) stopper: Stopper,
}

/// Until a signal stops it, with start lines and a live line.
struct Foreground<S> {
    channel: Channel,
    signals: Option<S>,
}

impl<S: FnOnce() -> Result<Receiver<Stop>>> Manner for Foreground<S> {
    fn channel(&self) -> Channel {
        self.channel
    }

    fn signals(&mut self) -> Result<Receiver<Stop>> {
        self.signals.take().map_or_else(|| Ok(never()), |signals| signals())
    }

    fn status(&self, stats: Arc<Stats>, ca: String) -> Result<Status> {
        Status::new(stats, ca)
    }

    fn begin(&mut self, begun: &Begun<'_>, status: &mut Status) {
        start_lines(begun, status);
        warnings(begun, status);
        if begun.config.qr {
            show_qr(begun.address, begun.config.options.proxyauth.is_some(), status);
        }
    }

    fn shows_flows(&self) -> bool {
        true
    }
}

/// A capture that has ended.
pub(super) struct Captured {
    served: Result<()>,
    summary: Option<Summary>,
    stats: Arc<Stats>,
    pub(super) status: Status,
}

/// Captures in this manner until it is stopped and the bundle is whole.
///
/// # Errors
/// What keeps it from starting. What fails later is in the result.
pub(super) fn capture(bound: Bound, config: &Config, manner: &mut dyn Manner) -> Result<Captured> {
    let channel = manner.channel();
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
    let signals = manner.signals()?;
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
    let mut status = manner.status(stats.clone(), to_trust(&authority))?;
    if config.terminal.quiet {
        status.show_no_live_line();
    }
    let server = Server::start(config, bound, parts)?;
    let mcp = agents.as_ref().and_then(Prepared::address);
    let serve = |agents: Prepared| agents.serve(config, &server, &options, &stats, &notices);
    let mut serving = agents.map(serve).transpose()?;
    let (address, stopper) = (server.address(), server.stopper());
    let begun = Begun { config, address, mcp, authority: &authority, stopper };
    manner.begin(&begun, &mut status);
    if let Some(serving) = &mut serving {
        if manner.shows_flows() {
            status.show_flows(serving.lines(&options, config.terminal));
        }
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
    Ok(Captured { served, summary, stats, status })
}

impl Captured {
    /// Sums up; where only troubles are wanted, only if there were some.
    ///
    /// # Errors
    /// What has failed first.
    pub(super) fn tell(&mut self, only_troubles: bool) -> Result<()> {
        self.status.finish();
        if let Some(summary) = &self.summary
            && !(only_troubles && went_well(summary, &self.stats))
        {
            self.status.line(&sum_up(summary, &self.stats));
        }
        std::mem::replace(&mut self.served, Ok(()))?;
        match self.summary.as_ref().and_then(|summary| summary.error.clone()) {
            None => Ok(()),
            Some(error) => Err(Error::new(error)),
        }
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
fn start_lines(begun: &Begun<'_>, status: &mut Status) {
    let Begun { config, authority, .. } = begun;
    status.line(&format!("proxy  http://{}", begun.address));
    if let Some(mcp) = begun.mcp {
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
}

/// What makes a capture less safe than it should be.
pub(super) fn warnings(begun: &Begun<'_>, status: &mut Status) {
    let Begun { config, authority, address, .. } = begun;
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
    warn_of_others(*address, consequences, status);
    if config.insecure_upstream {
        status.line("WARNING: the certificates of servers are not verified");
    }
}

/// Shows the way to the page for devices, as a QR code.
fn show_qr(listening: SocketAddr, asks_credentials: bool, status: &mut Status) {
    if asks_credentials {
        status.line(
            "No QR code: with proxyauth nothing is answered without credentials. Set the proxy \
             with them on the phone, and open http://mitm.it/ there.",
        );
        return;
    }
    let address = match listening.ip().is_unspecified() {
        true => lan_address().map(|ip| (ip, listening.port()).into()),
        false => Some(listening),
    };
    status.line(qr::page(address, qr::is_coloured(&io::stderr())).trim_end_matches('\n'));
}

/// What clients are to trust, in words.
fn to_trust(authority: &Authority) -> String {
    match authority.certificate_path() {
        Some(file) => file.display().to_string(),
        None => "the certificate that flowtap ca export writes".to_owned(),
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

/// Whether all that was to be captured is in the bundle.
fn went_well(summary: &Summary, stats: &Stats) -> bool {
    let troubles = [
        summary.bodies_cut,
        stats.messages_left_out.get(),
        stats.faults.get(),
        summary.lost,
        summary.messages_lost,
    ];
    troubles.iter().all(|count| *count == 0)
}

fn sum_up(summary: &Summary, stats: &Stats) -> String {
    let messages_left_out = stats.messages_left_out.get();
    let mut text = format!(
        "{}, {}, {}, {} of bodies in {:.1} s",
        count(summary.traces, "trace"),
        count(summary.websockets, "WebSocket connection"),
        count(summary.messages, "message"),
        size(summary.bytes),
        summary.duration.as_secs_f64()
    );
    for path in &summary.paths {
        // Writing to a String does not fail.
        let _ = write!(text, "\n{}", path.display());
    }
    if summary.bodies_cut > 0 {
        let cut = count_were(summary.bodies_cut, "body");
        let _ = write!(text, "\n{cut} cut at --capture-body-limit");
    }
    if messages_left_out > 0 {
        let _ = write!(
            text,
            "\n{} left out, of connections with more than {WEBSOCKET_MESSAGES}",
            count_were(messages_left_out, "message")
        );
    }
    let faults = stats.faults.get();
    if faults > 0 {
        let _ = write!(text, "\n{} in flowtap; please report it", count(faults, "FAULT"));
    }
    if summary.lost > 0 {
        let _ = write!(text, "\n{} LOST", count_were(summary.lost, "flow"));
    }
    if summary.messages_lost > 0 {
        let lost = count_were(summary.messages_lost, "WebSocket message");
        let _ = write!(text, "\n{lost} LOST");
    }
    text
}

#[cfg(test)]
mod tests;
