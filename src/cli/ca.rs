//! `flowtap ca`: shows the CA, exports its certificate, and has trust stores take it.

use std::io::{self, Write};

use crate::capture::export::write_whole;
use crate::cli::settings::{CaChange, CaCheck, CaExport, CaFormat, CaShow};
use crate::error::{Error, Result};
use crate::tls::facts::CertificateFacts;
use crate::tls::pkcs12::certificate_with_password;

mod show;

/// Shows the CA, which is made where there is none yet.
///
/// # Errors
/// When the CA cannot be read or made.
pub fn show(settings: &CaShow) -> Result<()> {
    let authority = settings.place.open()?;
    let text = show::text(&authority, &facts(authority.certificate_der())?);
    // A reader that has gone, as `head` does, is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// Has trust stores take the CA.
///
/// # Errors
/// When something of it could not be done.
pub fn install(_settings: &CaChange) -> Result<()> {
    Err(Error::new("ca install is not made yet"))
}

/// Takes the CA out of trust stores.
///
/// # Errors
/// When something of it could not be done.
pub fn uninstall(_settings: &CaChange) -> Result<()> {
    Err(Error::new("ca uninstall is not made yet"))
}

/// Proves that the CA is trusted.
///
/// # Errors
/// When it is not trusted where it should be.
pub fn check(_settings: &CaCheck) -> Result<()> {
    Err(Error::new("ca check is not made yet"))
}

/// Writes the certificate, without its key.
///
/// # Errors
/// When the CA cannot be read or made, or the file cannot be written.
pub fn export(settings: &CaExport) -> Result<()> {
    let authority = settings.place.open()?;
    let content = match settings.format {
        CaFormat::Pem => authority.certificate_pem().into_bytes(),
        CaFormat::Der => authority.certificate_der().to_vec(),
        CaFormat::P12 => certificate_with_password(authority.certificate_der(), &settings.password),
    };
    let Some(file) = &settings.output else {
        return match io::stdout().write_all(&content).and_then(|()| io::stdout().flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::new(format!("cannot write the certificate: {error}")))
            }
            _ => Ok(()),
        };
    };
    let is_ca = |ca| file.canonicalize().is_ok_and(|file| file == ca);
    if authority.path().canonicalize().is_ok_and(is_ca) {
        let file = file.display();
        return Err(Error::usage(format!("--output {file} would replace the CA itself")));
    }
    let failed = |error: io::Error| Error::new(format!("cannot write {}: {error}", file.display()));
    write_whole(file, |out| out.write_all(&content).map_err(failed))
}

fn facts(certificate_der: &[u8]) -> Result<CertificateFacts> {
    CertificateFacts::read(certificate_der)
        .ok_or_else(|| Error::new("the CA's certificate cannot be read"))
}
