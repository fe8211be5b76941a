//! What the tests of TLS share: authorities in temporary folders, and bytes carried between ends.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use super::authority::{Authority, AuthoritySource};
use super::cert_cache::CertCache;
use super::server::ServerTls;
use super::session::{Received, Sealed, Session, TlsError};
use super::upstream::UpstreamTls;
use crate::limits::{READ_BYTES, SEALED_OVERHEAD_BYTES};

/// The authority of a configuration folder that the user named.
pub(crate) fn open_in(confdir: &Path) -> crate::error::Result<Authority> {
    Authority::open(&AuthoritySource { confdir, confdir_given: true, file: None, home: None })
}

/// The authority of a file that the user named.
pub(crate) fn open_file(file: &Path) -> crate::error::Result<Authority> {
    let confdir = Path::new("/nonexistent");
    Authority::open(&AuthoritySource { confdir, confdir_given: true, file: Some(file), home: None })
}

/// A new authority; its files are gone already.
pub(crate) fn new_authority() -> Arc<Authority> {
    let folder = TempDir::new().unwrap();
    Arc::new(open_in(folder.path()).unwrap())
}

/// A server, and a client that trusts its authority.
pub(crate) fn pair_of(authority: Arc<Authority>) -> (ServerTls, UpstreamTls) {
    let root = CertificateDer::from(authority.certificate_der().to_vec());
    let server = ServerTls::new(Arc::new(CertCache::new(authority))).unwrap();
    (server, UpstreamTls::with_roots(vec![root]).unwrap())
}

/// All ciphertext that `session` has to send.
pub(crate) fn output(session: &mut Session) -> Vec<u8> {
    let out = session.output().to_vec();
    session.consume_output(out.len());
    out
}

/// Gives ciphertext to `session`, behind what waits there.
pub(crate) fn receive(
    session: &mut Session,
    ciphertext: &[u8],
    plaintext: &mut Vec<u8>,
) -> Result<Received, TlsError> {
    let mut all = [session.pending(), ciphertext].concat();
    session.receive(&mut all, plaintext)
}

/// Encrypts `plaintext`, as much of it as one read asks for, into the output; how much that was.
pub(crate) fn send(session: &mut Session, plaintext: &[u8]) -> usize {
    let mut sealed = vec![0; READ_BYTES + SEALED_OVERHEAD_BYTES];
    let Sealed { taken, written } = session.seal(plaintext, &mut sealed).unwrap();
    session.queue(&sealed[..written]);
    taken
}

/// What one end came to know while bytes were carried.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) plaintext: Vec<u8>,
    pub(crate) done: usize,
    pub(crate) closed: bool,
}

impl End {
    /// Gives `ciphertext` to `session` in pieces of at most `piece` bytes.
    pub(crate) fn feed(
        &mut self,
        session: &mut Session,
        ciphertext: &[u8],
        piece: usize,
    ) -> Result<(), TlsError> {
        for part in ciphertext.chunks(piece.max(1)) {
            let Received { handshake_done, peer_closed, .. } =
                receive(session, part, &mut self.plaintext)?;
            self.done += usize::from(handshake_done);
            self.closed |= peer_closed;
        }
        Ok(())
    }
}

/// Carries bytes both ways until both are silent. Each side's error comes back on its own.
pub(crate) fn carry(
    client: &mut Session,
    server: &mut Session,
    piece: usize,
) -> (Result<End, TlsError>, Result<End, TlsError>) {
    let mut ends = (Ok(End::default()), Ok(End::default()));
    while client.has_output() || server.has_output() {
        let to_server = output(client);
        ends.1 = ends.1.and_then(|mut end: End| end.feed(server, &to_server, piece).map(|()| end));
        let to_client = output(server);
        ends.0 = ends.0.and_then(|mut end: End| end.feed(client, &to_client, piece).map(|()| end));
    }
    ends
}

/// Carries a handshake that must succeed.
pub(crate) fn handshake(client: &mut Session, server: &mut Session) -> (End, End) {
    let (client_end, server_end) = carry(client, server, usize::MAX);
    (client_end.unwrap(), server_end.unwrap())
}

/// Runs the openssl command line tool in `folder`; its output must be a success.
pub(crate) fn openssl(folder: &Path, arguments: &str) -> String {
    let words = arguments.split_whitespace().map(|word| word.replace('~', " "));
    let run = Command::new("openssl")
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("the openssl command line tool is needed");
    let text = [&run.stdout[..], &run.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(run.status.success(), "openssl {arguments}: {text}");
    text
}

/// Writes the files, one after the other, into one file of `folder` that is private.
pub(crate) fn join(folder: &Path, parts: &[&str], name: &str) -> PathBuf {
    let text: Vec<u8> =
        parts.iter().flat_map(|part| std::fs::read(folder.join(part)).unwrap()).collect();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// Arguments of openssl genpkey for a P-256 key.
pub(crate) const P256_KEY: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";

/// A CA of openssl's making, key first; `key` are arguments of openssl genpkey.
pub(crate) fn openssl_ca(folder: &Path, key: &str) -> PathBuf {
    openssl(folder, &format!("genpkey {key} -out key.pem"));
    openssl(folder, "req -x509 -new -key key.pem -days 30 -subj /O=Test/CN=Foreign~CA -out ca.pem");
    join(folder, &["key.pem", "ca.pem"], "both.pem")
}
