//! A CA without its key, which is all that whoever takes trust back needs.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{AuthoritySource, CA_FILE, Origin, beside, is_there, mitmproxy_file};
use crate::error::{Error, Result};
use crate::tls::ca_file;
use crate::tls::key_file::{self, Refused};
use crate::tls::pem;

/// A CA without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCa {
    /// The CA's file.
    pub path: PathBuf,
    /// How the CA came to be.
    pub origin: Origin,
    /// The CA's certificate, as DER.
    pub certificate: Vec<u8>,
}

impl KnownCa {
    /// The CA that there is. It may be one that cannot be used any more: its life may have ended,
    /// its key may be damaged, missing or known to others. All of these are reasons to take the
    /// trust in it back.
    ///
    /// # Errors
    /// When its certificate stands neither in its file nor in the one beside it, or when others can
    /// replace what does: it could be the certificate of somebody else, whom the user trusts.
    pub fn find(source: &AuthoritySource<'_>) -> Result<KnownCa> {
        let own = source.confdir.join(CA_FILE);
        let (path, origin) = match (source.file, mitmproxy_file(source)) {
            (Some(file), _) => (file.to_owned(), Origin::Named),
            (None, Some(theirs)) if !is_known(&own) => (theirs, Origin::Mitmproxy),
            (None, _) => (own, Origin::Loaded),
        };
        let beside = beside(&path, origin);
        let found = read(&path).or_else(|why| beside.and_then(|it| read(&it).ok()).ok_or(why));
        let certificate = found.map_err(|why| {
            Error::new(format!(
                "the CA file {} does not tell which certificate is meant: {why}; name a file with \
                 the certificate with --ca",
                path.display()
            ))
        })?;
        Ok(KnownCa { path, origin, certificate })
    }

    /// Whether there is a CA to be found, or something in its place.
    pub fn is_there(source: &AuthoritySource<'_>) -> bool {
        let own = source.confdir.join(CA_FILE);
        source.file.is_some() || is_known(&own) || mitmproxy_file(source).is_some()
    }

    /// The file with the certificate alone. What stands in its place may be of an older CA, or
    /// somebody else's.
    pub fn certificate_path(&self) -> Option<PathBuf> {
        let beside = beside(&self.path, self.origin)?;
        // A named pipe would be waited for.
        let file = beside.is_file().then(|| File::open(&beside))?.ok()?;
        let found = ca_file::read_certificate(&file).ok()?;
        (found.as_ref() == self.certificate).then_some(beside)
    }

    /// The certificate as PEM text.
    pub fn certificate_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.certificate)
    }
}

/// Whether there is flowtap's own CA, with its key or without.
fn is_known(own: &Path) -> bool {
    is_there(own) || beside(own, Origin::Loaded).is_some_and(|certificate| is_there(&certificate))
}

/// The certificate in a file that nobody else can replace. Others may read it.
fn read(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    match key_file::check(path, &file) {
        Ok(()) | Err(Refused::Readable(_)) => {}
        Err(Refused::Exposed(why)) => return Err(why),
        Err(Refused::Unreadable(error)) => return Err(unreadable(error)),
    }
    ca_file::read_certificate(&file).map(|certificate| certificate.to_vec())
}
