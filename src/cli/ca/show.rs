//! The CA in words.

use std::fmt::Write as _;

use time::OffsetDateTime;

use crate::cli::words::visible;
use crate::tls::authority::{Authority, Origin};
use crate::tls::facts::{CertificateFacts, day, fingerprint};
use crate::trust::{CaCertificate, Runner, State, Store};

/// The lines that tell what there is to know of the CA.
pub(super) fn text(authority: &Authority, facts: &CertificateFacts) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{what:<12} {}", visible(value));
    };
    let origin = match authority.origin() {
        Origin::Created => " (made just now)",
        Origin::Loaded => "",
        Origin::Mitmproxy => " (mitmproxy's)",
        Origin::Named => " (named by --ca)",
    };
    line("ca", &format!("{}{origin}", authority.path().display()));
    let certificate = authority.certificate_path().map(|file| file.display().to_string());
    let with_key = "in the file with the key; flowtap ca export writes it alone".to_owned();
    line("certificate", &certificate.unwrap_or(with_key));
    line("subject", &facts.subject);
    line("sha256", &fingerprint(&facts.sha256));
    line("sha1", &fingerprint(&facts.sha1));
    line("spki sha256", &facts.spki_sha256);
    line("key", &facts.key);
    let days = facts.days_left(OffsetDateTime::now_utc());
    line("valid from", &day(facts.not_before.date()));
    line("valid until", &format!("{} ({days} days left)", day(facts.not_after.date())));
    if let Some(why) = authority.readable_by_others() {
        line("WARNING", &format!("the CA file has a key, and {why}"));
    }
    text
}

/// Whether a store trusts the CA.
pub(super) fn row(store: &Store, ca: &CaCertificate, runner: &mut dyn Runner) -> String {
    let (what, more) = match store.state(ca, runner) {
        State::Trusted => ("trusted", String::new()),
        State::Absent => ("not trusted", String::new()),
        State::Unknown(why) => ("not known", format!(": {why}")),
    };
    format!("{what:<12} {}{}\n", super::about(store), visible(&more))
}
