//! `flowtap ca`: shows the CA, exports its certificate, and has trust stores take it.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::capture::export::write_whole;
use crate::cli::qr;
use crate::cli::results;
use crate::cli::settings::{self, CaChange, CaCheck, CaExport, CaFormat, CaShow, CaStores};
use crate::cli::words::visible;
use crate::error::{Error, Result};
use crate::net::lan::lan_address;
use crate::tls::authority::KnownCa;
use crate::tls::facts::CertificateFacts;
use crate::tls::pkcs12::trust_store;
use crate::trust::{self, CaCertificate, Direction, Machine, Store, SystemRunner, Wanted};

mod change;
mod check;
mod show;

/// Shows the CA, which is made where there is none yet, and where it is trusted; or a QR code.
///
/// # Errors
/// When the CA cannot be read or made, or what is shown is lost.
pub fn show(settings: &CaShow) -> Result<()> {
    if settings.qr {
        let address = lan_address().map(|ip| (ip, settings.port).into());
        let hint = "The proxy has to run for that: flowtap proxy --qr --listen 0.0.0.0\n";
        return print(&(qr::page(address, qr::is_coloured(&io::stdout())) + hint));
    }
    let authority = settings.place.open()?;
    let ca = certificate(&authority.known())?;
    print(&show::text(&authority, &ca.facts))?;
    let machine = Machine::this(settings::home());
    // Each by itself: where the store of Java is made of the system's, both are of interest.
    for wanted in [Wanted { java: false, ..ALL }, Wanted { system: false, nss: false, ..ALL }] {
        for store in trust::find(&machine, wanted).0 {
            print(&show::row(&store, &ca, &mut SystemRunner))?;
        }
    }
    Ok(())
}

/// Has trust stores take the CA.
///
/// # Errors
/// When something of it could not be done.
pub fn install(settings: &CaChange) -> Result<()> {
    change::run(Direction::Install, settings)
}

/// Takes the CA out of trust stores.
///
/// # Errors
/// When something of it could not be done.
pub fn uninstall(settings: &CaChange) -> Result<()> {
    change::run(Direction::Uninstall, settings)
}

/// Proves that the CA is trusted.
///
/// # Errors
/// When it is not trusted where it should be.
pub fn check(settings: &CaCheck) -> Result<()> {
    check::run(settings)
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
        CaFormat::P12 => {
            trust_store([("flowtap".to_owned(), authority.certificate_der())], &settings.password)
        }
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

/// All stores.
const ALL: Wanted<'_> =
    Wanted { system: true, nss: true, java: true, java_homes: &[], made_by_system: false };

/// The stores that a command is about: all, where none is named.
fn wanted(stores: &CaStores) -> Wanted<'_> {
    if stores.none_named() {
        return ALL;
    }
    let CaStores { system, nss, java, java_homes } = stores;
    Wanted { system: *system, nss: *nss, java: *java, java_homes, ..Wanted::default() }
}

/// What is to be trusted, without its key.
fn certificate(known: &KnownCa) -> Result<CaCertificate> {
    let facts = CertificateFacts::read(&known.certificate)
        .ok_or_else(|| Error::new("the CA's certificate cannot be read"))?;
    let absolute = |file: PathBuf| std::path::absolute(&file).unwrap_or(file);
    Ok(CaCertificate {
        der: known.certificate.clone(),
        pem: known.certificate_pem(),
        facts,
        file: known.certificate_path().map(absolute),
    })
}

/// What a store is called, safe to print.
fn about(store: &Store) -> String {
    visible(&store.label()).into_owned()
}

fn print(text: &str) -> Result<()> {
    results::print(text.as_bytes())
}
