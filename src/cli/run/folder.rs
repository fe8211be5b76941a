//! The folder of what a program is given: what it is to trust, and a browser's profile. Nobody
//! else can look into it, and it goes when flowtap ends.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::capture::private;
use crate::cli::run::node;
use crate::cli::settings;
use crate::cli::words::visible;
use crate::error::{Error, Result};
use crate::random;
use crate::tls::authority::Authority;
use crate::tls::roots::Roots;
use crate::tls::upstream::roots_in;

/// A temporary folder; dropping it removes it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

/// Where things are for the program.
#[derive(Debug)]
pub(super) struct Files {
    /// The CA's certificate alone, as PEM.
    pub(super) ca: PathBuf,
    /// The same, the upstream roots, and what Node was to trust without them beside its own roots,
    /// as PEM.
    pub(super) node_ca: PathBuf,
    /// The CA's certificate with the system's roots, as PEM.
    pub(super) roots: PathBuf,
    /// The same for Java, as PKCS#12.
    pub(super) java: PathBuf,
    /// What Node is to load.
    pub(super) node: PathBuf,
    /// The settings of wget.
    pub(super) wget: PathBuf,
}

impl Folder {
    /// A new and empty folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new() -> Result<Folder> {
        let mut name = [0; 8];
        let place = std::env::temp_dir();
        let failed = |reason: &str| {
            let place = place.to_string_lossy();
            Error::new(format!(
                "no temporary folder can be made in {}: {reason}; name another place with TMPDIR",
                visible(&place)
            ))
        };
        // Programs are started in other folders than flowtap.
        let place = std::path::absolute(&place).map_err(|error| failed(&error.to_string()))?;
        // The settings of wget can hold no such path.
        if place.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return Err(failed("its name has ends of lines"));
        }
        let made = random::fill(&mut name).and_then(|()| {
            let path = place.join(format!("flowtap-{:016x}", u64::from_ne_bytes(name)));
            // What is there already is not ours.
            private::create_folder(&path).map(|()| path)
        });
        made.map(|path| Folder { path }).map_err(|error| failed(&error.to_string()))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what programs are to trust, and what they need beside it to use the proxy. Servers
    /// whose traffic is passed through untouched may have certificates of the `upstream` roots.
    pub(super) fn write(
        &self,
        authority: &Authority,
        upstream: &[PathBuf],
        proxy: &str,
    ) -> io::Result<Files> {
        let mut own = Roots::default();
        // Node brings its own.
        let mut more = Roots::default();
        let mut all = Roots::of_system();
        for root in upstream.iter().flat_map(|file| roots_in(file).unwrap_or_default()) {
            more.add(&root);
            all.add(&root);
        }
        // The CA comes to stand first.
        for certificate in authority.trusted().collect::<Vec<_>>().into_iter().rev() {
            own.add(certificate);
            more.add(certificate);
            all.add(certificate);
        }
        Ok(Files {
            ca: self.put("ca.pem", own.pem().as_bytes())?,
            node_ca: self.put("node.pem", &node_roots(&more))?,
            roots: self.put(ROOTS, all.pem().as_bytes())?,
            java: self.put("roots.p12", &all.pkcs12())?,
            node: self.put("proxy.cjs", node::SCRIPT.as_bytes())?,
            wget: self.put("wgetrc", &wget_settings(&self.path.join(ROOTS), proxy))?,
        })
    }

    /// Writes a new file.
    pub(super) fn put(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        private::create_new(&path)?.write_all(content)?;
        Ok(path)
    }

    /// Makes a folder in it.
    pub(super) fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        private::create_folder(&path)?;
        Ok(path)
    }
}

/// What Node is to trust beside its own roots, with what the user has it trust: it takes one file
/// only.
fn node_roots(more: &Roots) -> Vec<u8> {
    let mut text = more.pem().into_bytes();
    let theirs = std::env::var_os("NODE_EXTRA_CA_CERTS").and_then(|path| std::fs::read(path).ok());
    text.extend_from_slice(&theirs.unwrap_or_default());
    text
}

/// The roots, as PEM.
const ROOTS: &str = "roots.pem";

/// The user's settings of wget with ours after them. Where it is built with GnuTLS it takes roots
/// from nowhere else, and a proxy of its settings comes before that of the environment.
fn wget_settings(roots: &Path, proxy: &str) -> Vec<u8> {
    let own = std::env::var_os("WGETRC").filter(|path| !path.is_empty()).map(PathBuf::from);
    let own = own.or_else(|| settings::home().map(|home| home.join(".wgetrc")));
    let mut text = own.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
    text.extend_from_slice(b"\nca_certificate = ");
    text.extend_from_slice(roots.as_os_str().as_bytes());
    let rest = format!("\nuse_proxy = on\nhttp_proxy = {proxy}\nhttps_proxy = {proxy}\n");
    text.extend_from_slice(rest.as_bytes());
    text
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What a browser's last processes still write may come in between.
        for _ in 0..REMOVALS {
            match std::fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                _ => break,
            }
        }
    }
}

/// How often the folder is tried to be removed.
const REMOVALS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_folder_is_private_and_goes() {
        let folder = Folder::new().unwrap();
        let other = Folder::new().unwrap();
        assert_ne!(folder.path(), other.path());
        let file = folder.put("file", b"text").unwrap();
        assert!(folder.put("file", b"other").is_err());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&file)), (0o700, 0o600));
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists() && other.path().exists());
    }
}
