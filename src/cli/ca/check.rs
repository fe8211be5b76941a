//! `flowtap ca check`: HTTPS through a proxy, judged by the roots of the system.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::{ALL, about, certificate, print, wanted};
use crate::cli::settings::{self, CaCheck};
use crate::cli::words::visible;
use crate::error::{Error, Result};
use crate::limits::CHECK_WAIT;
use crate::net::probe::{Probe, probe};
use crate::net::server::{Bound, Server, ServerParts};
use crate::notice::Notices;
use crate::options::SharedOptions;
use crate::proxy::context::DeviceCertificate;
use crate::stats::Stats;
use crate::tls::authority::Authority;
use crate::tls::cert_cache::CertCache;
use crate::tls::facts::fingerprint;
use crate::tls::judge::judge;
use crate::tls::server::ServerTls;
use crate::tls::upstream::UpstreamTls;
use crate::trust::{self, CaCertificate, Machine, State, Store, SystemRunner};

/// What flowtap answers for itself, so that no network is needed.
const OWN_HOST: &str = "mitm.it";

/// Asks through a proxy, and tells of each store whether it trusts what came.
pub(super) fn run(settings: &CaCheck) -> Result<()> {
    let authority = Arc::new(settings.place.open()?);
    let ca = certificate(&authority.known())?;
    let (host, port) =
        settings.host.as_ref().map_or((OWN_HOST, 443), |(host, port)| (host.as_str(), *port));
    let (through, probed) = match &settings.proxy {
        Some((name, at)) => (format!("{name}:{at}"), probe((name, *at), (host, port), CHECK_WAIT)?),
        None => through_own(&authority, (host, port))?,
    };
    print(&format!("asked        https://{}:{port}/ through {through}\n", visible(host)))?;
    print(&match &probed.answer {
        Ok(line) => format!("answer       {}\n", visible(line)),
        Err(why) => format!("answer       none: {}\n", visible(why)),
    })?;
    let own = [CertificateDer::from(ca.der.clone())];
    judge(&own, &probed.chain, host).map_err(|why| {
        Error::new(visible(&format!(
            "the certificate of {host} was not made by this CA: the proxy has another one, or \
             passes {host} through ({why})"
        )))
    })?;
    print(&format!("made by      {} {}\n", visible(&ca.facts.subject), short(&ca)))?;
    let mut failures = Vec::new();
    let judged = by_system(&probed, host);
    let system_counts = settings.stores.none_named() || settings.stores.system;
    failures.extend(system_row(judged, system_counts)?);
    failures.extend(other_rows(settings, &ca)?);
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Error::new(failures.join("; "))),
    }
}

fn short(ca: &CaCertificate) -> String {
    format!("sha256 {}", fingerprint(&ca.facts.sha256))
}

/// What the roots of the system say of the chain, and how many roots they are.
fn by_system(probed: &Probe, host: &str) -> std::result::Result<usize, String> {
    let roots = rustls_native_certs::load_native_certs().certs;
    judge(&roots, &probed.chain, host).map(|()| roots.len())
}

/// Tells of the system's store; gives what keeps the check from passing.
fn system_row(judged: std::result::Result<usize, String>, counts: bool) -> Result<Option<String>> {
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
    let named = variables.iter().find(|name| std::env::var_os(name).is_some());
    let label = named.map_or("system".to_owned(), |name| format!("system, by {name}"));
    let advice = match named {
        None => "flowtap ca install --system".to_owned(),
        Some(name) => format!("unset {name}, or add the CA to what it names"),
    };
    match judged {
        Ok(roots) => {
            print(&format!("trusted      {label} (one of {roots} roots)\n"))?;
            Ok(None)
        }
        Err(why) => {
            print(&format!("not trusted  {label} ({}): {advice}\n", visible(&why)))?;
            Ok(counts.then(|| format!("{label}: the CA is not trusted: {advice}")))
        }
    }
}

/// Tells of the other stores, by looking into them; gives what keeps the check from passing.
fn other_rows(settings: &CaCheck, ca: &CaCertificate) -> Result<Vec<String>> {
    let machine = Machine::this(settings::home());
    let mut wanted = if settings.stores.none_named() { ALL } else { wanted(&settings.stores) };
    wanted.system = false;
    let (stores, notes) = trust::find(&machine, wanted);
    let counts = !settings.stores.none_named();
    let mut failures = Vec::new();
    for store in &stores {
        let label = about(store);
        let flags = flags(store);
        match store.state(ca, &mut SystemRunner) {
            State::Trusted => print(&format!("trusted      {label}\n"))?,
            State::Absent => {
                print(&format!("not trusted  {label}: flowtap ca install {flags}\n"))?;
                failures
                    .push(format!("{label}: the CA is not trusted: flowtap ca install {flags}"));
            }
            State::Unknown(why) => {
                let why = visible(&why).into_owned();
                print(&format!("not known    {label}: {why}\n"))?;
                failures.push(format!("{label} cannot be looked at: {why}"));
            }
        }
    }
    if !counts {
        return Ok(Vec::new());
    }
    let (nss, java) = (settings.stores.nss, settings.stores.java);
    let has = |wanted: fn(&Store) -> bool| stores.iter().any(wanted);
    let missing = (nss && !has(|store| matches!(store, Store::Nss(_))))
        || (java && !has(|store| matches!(store, Store::Java(_))));
    if missing {
        failures.extend(notes.iter().map(|note| visible(note).into_owned()));
    }
    Ok(failures)
}

fn flags(store: &Store) -> String {
    let flags = store.flags();
    let flags: Vec<_> = flags.iter().map(|flag| flag.to_string_lossy()).collect();
    visible(&flags.join(" ")).into_owned()
}

/// Asks through a proxy of our own, which is there for this alone.
fn through_own(authority: &Arc<Authority>, host: (&str, u16)) -> Result<(String, Probe)> {
    let mut config = settings::defaults();
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.loops = 1;
    let stats = Arc::new(Stats::default());
    let (notices, _notice_receiver) = Notices::channel(stats.clone());
    let server_tls = ServerTls::new(Arc::new(CertCache::new(authority.clone())))
        .map_err(|error| Error::new(format!("TLS cannot be set up: {error}")))?;
    let parts = ServerParts {
        server_tls: Some(server_tls),
        // Without roots the answer is an error, and the certificate shown is what counts.
        upstream_tls: UpstreamTls::new(false, &[]).ok().map(|(tls, _)| tls),
        certificate: DeviceCertificate::default(),
        flows: None,
        live: None,
        mcp: None,
        options: Arc::new(SharedOptions::new(config.options.clone())),
        discovered: None,
        stats,
        notices,
    };
    let server = Server::start(&config, Bound::new(config.listen)?, parts)?;
    let address = server.address();
    let ip = address.ip().to_string();
    let probed = probe((&ip, address.port()), host, CHECK_WAIT);
    server.stopper().stop(Duration::ZERO);
    server.wait()?;
    Ok((format!("a proxy of its own at {address}"), probed?))
}
