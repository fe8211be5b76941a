//! The CA's files, and its leaves as the openssl command line tool judges them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::tls::testing::{
    P256_KEY, handshake, join, new_authority, open_file, open_in, openssl, openssl_ca, pair_of,
};
use crate::tls::version::TlsVersion;

const RSA_KEY: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// Mints for these names, and lets openssl and rustls verify the leaf.
fn check_leaf(authority: Authority, folder: &Path) {
    let mut names = LeafNames::for_host("a.example").unwrap();
    names.add("127.0.0.1").unwrap();
    let minted = authority.mint(&names).unwrap();
    fs::write(folder.join("leaf.pem"), pem::encode("CERTIFICATE", &minted.cert[0])).unwrap();
    fs::write(folder.join("root.pem"), authority.certificate_pem()).unwrap();
    let verify = "verify -purpose sslserver -partial_chain -CAfile root.pem";
    openssl(folder, &format!("{verify} -verify_hostname a.example leaf.pem"));
    openssl(folder, &format!("{verify} -verify_ip 127.0.0.1 leaf.pem"));
    let (_, ca) = X509Certificate::from_der(authority.certificate_der()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&minted.cert[0]).unwrap();
    assert_eq!(leaf.issuer().as_raw(), ca.subject().as_raw());
    let life = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    assert_eq!(life, 199 * 86_400);
    assert_eq!(leaf.raw_serial().len(), 20);
    assert!(leaf.raw_serial()[0] < 0x80);
    let (server, client) = pair_of(Arc::new(authority));
    let mut server = server.session(Some("a.example"), "a.example", TlsVersion::Tls12).unwrap();
    let mut client = client.session("a.example", TlsVersion::Tls12).unwrap();
    handshake(&mut client, &mut server);
}

#[test]
fn a_key_that_cannot_sign_is_refused_at_once() {
    let text = include_bytes!("../../../fuzz/corpus/authority_pem/damaged_rsa");
    // One backend sees it when it reads the key, and one only when it signs.
    match Authority::from_pem(text).map_err(|error| error.to_string()) {
        Ok(authority) => drop(authority.mint(&LeafNames::for_host("a.example").unwrap()).unwrap()),
        Err(error) => assert!(error.starts_with("its private key "), "{error}"),
    }
}

#[test]
fn a_first_start_makes_a_ca() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("conf");
    let made = open_in(&folder).unwrap();
    assert_eq!(made.origin(), Origin::Created);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join(CA_FILE)), 0o600);
    for name in [CERTIFICATE_PEM_FILE, CERTIFICATE_CER_FILE, CERTIFICATE_P12_FILE] {
        assert_eq!(mode(&folder.join(name)), 0o644, "{name}");
        fs::remove_file(folder.join(name)).unwrap();
    }
    let again = open_in(&folder).unwrap();
    assert_eq!(again.origin(), Origin::Loaded);
    assert_eq!(again.certificate_der(), made.certificate_der());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4, "made again, and nothing left aside");
    openssl(&folder, "verify -x509_strict -CAfile flowtap-ca-cert.pem flowtap-ca-cert.cer");
    let shown = openssl(&folder, "pkcs12 -info -nokeys -passin pass: -in flowtap-ca-cert.p12");
    assert!(shown.contains("BEGIN CERTIFICATE"), "{shown}");
    check_leaf(again, home.path());
}

#[test]
fn simultaneous_first_starts_end_with_one_ca() {
    let folder = TempDir::new().unwrap();
    let open = || open_in(folder.path()).unwrap();
    let opened: Vec<Authority> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let first = opened[0].certificate_der();
    assert!(opened.iter().all(|other| other.certificate_der() == first));
    assert_eq!(opened.iter().filter(|o| o.origin() == Origin::Created).count(), 1);
}

#[test]
fn keys_of_every_form_are_read() {
    for (key, traditional) in [(P256_KEY, "ec"), (RSA_KEY, "rsa")] {
        let folder = TempDir::new().unwrap();
        let path = openssl_ca(folder.path(), key);
        check_leaf(open_file(&path).unwrap(), folder.path());
        openssl(
            folder.path(),
            &format!("{traditional} -in key.pem -out old.pem -traditional")
                .replace("ec -in key.pem -out old.pem -traditional", "ec -in key.pem -out old.pem"),
        );
        for parts in [["old.pem", "ca.pem"], ["ca.pem", "old.pem"]] {
            let path = join(folder.path(), &parts, "both.pem");
            check_leaf(open_file(&path).unwrap(), folder.path());
        }
    }
}

#[test]
fn odd_names_are_kept_byte_by_byte() {
    for subject in ["/OU=One/OU=Two/CN=Repeated", "/O=A+CN=Several", "/CN=Grün"] {
        let folder = TempDir::new().unwrap();
        openssl(folder.path(), &format!("genpkey {P256_KEY} -out key.pem"));
        openssl(
            folder.path(),
            &format!("req -x509 -new -multivalue-rdn -key key.pem -subj {subject} -out ca.pem"),
        );
        let path = join(folder.path(), &["key.pem", "ca.pem"], "both.pem");
        check_leaf(open_file(&path).unwrap(), folder.path());
    }
}

#[test]
fn unusable_files_are_told_and_kept() {
    let folder = TempDir::new().unwrap();
    let good = fs::read(openssl_ca(folder.path(), P256_KEY)).unwrap();
    let certificate = fs::read(folder.path().join("ca.pem")).unwrap();
    openssl(folder.path(), &format!("genpkey {P256_KEY} -out key2.pem"));
    let mismatched = fs::read(join(folder.path(), &["key2.pem", "ca.pem"], "x.pem")).unwrap();
    for (content, why) in [
        (&good[..good.len() - 60], "cut off"),
        (&certificate[..], "no private key"),
        (&mismatched[..], "does not belong"),
        (b"", "no private key"),
    ] {
        let confdir = TempDir::new().unwrap();
        let path = confdir.path().join(CA_FILE);
        fs::write(&path, content).unwrap();
        let error = open_in(confdir.path()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn mitmproxys_ca_is_taken_over_only_by_default() {
    let home = TempDir::new().unwrap();
    let theirs = home.path().join(".mitmproxy");
    fs::create_dir(&theirs).unwrap();
    fs::rename(openssl_ca(home.path(), RSA_KEY), theirs.join("mitmproxy-ca.pem")).unwrap();
    let confdir = home.path().join(".flowtap");
    let mut source = AuthoritySource {
        confdir: &confdir,
        confdir_given: false,
        file: None,
        home: Some(home.path()),
    };
    assert_eq!(Authority::open(&source).unwrap().origin(), Origin::Mitmproxy);
    assert!(!confdir.exists());
    source.confdir_given = true;
    assert_eq!(Authority::open(&source).unwrap().origin(), Origin::Created);
    source.confdir_given = false;
    assert_eq!(Authority::open(&source).unwrap().origin(), Origin::Loaded);
}

#[test]
fn clients_are_given_no_file_but_one_with_the_certificate_of_the_ca() {
    let home = TempDir::new().unwrap();
    let theirs = home.path().join(".mitmproxy");
    fs::create_dir(&theirs).unwrap();
    let key = theirs.join("mitmproxy-ca.pem");
    fs::rename(openssl_ca(home.path(), P256_KEY), &key).unwrap();
    let confdir = home.path().join(".flowtap");
    let file = None;
    let home = Some(home.path());
    let source = AuthoritySource { confdir: &confdir, confdir_given: false, file, home };
    let beside = theirs.join("mitmproxy-ca-cert.pem");
    let given = || Authority::open(&source).unwrap().certificate_path();
    assert_eq!(given(), None);
    fs::write(&beside, new_authority().certificate_pem()).unwrap();
    assert_eq!(given(), None, "it is of another CA");
    fs::write(&beside, Authority::open(&source).unwrap().certificate_pem()).unwrap();
    assert_eq!(given(), Some(beside));
    assert_eq!(open_file(&key).unwrap().certificate_path(), None, "its key is in that file");
    let own = open_in(&confdir).unwrap();
    assert_eq!(own.certificate_path(), Some(confdir.join(CERTIFICATE_PEM_FILE)));
}

#[test]
fn a_key_that_others_can_read_is_refused_wherever_it_comes_from() {
    let home = TempDir::new().unwrap();
    let confdir = home.path().join(".flowtap");
    let own = open_in(&confdir).unwrap();
    drop(own);
    let own = confdir.join(CA_FILE);
    let theirs = home.path().join(".mitmproxy/mitmproxy-ca.pem");
    fs::create_dir(theirs.parent().unwrap()).unwrap();
    fs::copy(&own, &theirs).unwrap();
    let elsewhere = home.path().join("none");
    let of_mitmproxy = AuthoritySource {
        confdir: &elsewhere,
        confdir_given: false,
        file: None,
        home: Some(home.path()),
    };
    for (mode, path, open) in [
        (0o644, &own, &(|| open_in(&confdir)) as &dyn Fn() -> Result<Authority>),
        (0o622, &own, &(|| open_file(&own))),
        (0o640, &theirs, &(|| Authority::open(&of_mitmproxy))),
    ] {
        assert_eq!(open().unwrap().readable_by_others(), None);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let error = open().unwrap_err().to_string();
        let command = format!("chmod 600 {}", path.display());
        assert!(error.contains("not safe") && error.ends_with(&command), "{error}");
        assert!(!error.contains('\n'), "{error}");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        open().unwrap();
    }
    // Who named the file may have had it mounted so.
    fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open_file(&own).unwrap().readable_by_others().is_some_and(|it| it.contains("chmod")));
    fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).unwrap();
    // The mode of the file protects it in a folder that others can look into.
    fs::set_permissions(&confdir, fs::Permissions::from_mode(0o755)).unwrap();
    open_in(&confdir).unwrap();
}

#[test]
fn no_key_is_made_where_others_could_replace_it() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = open_in(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with(&format!("chmod go-w {}", folder.path().display())), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // A folder that is made for it is the user's alone.
    let inner = folder.path().join("conf");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    open_in(&inner).unwrap();
    assert_eq!(mode(&inner), 0o700);
}

#[test]
fn what_is_printed_for_debugging_holds_no_key() {
    let folder = TempDir::new().unwrap();
    let authority = open_in(folder.path()).unwrap();
    let text = fs::read(folder.path().join(CA_FILE)).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&text).unwrap();
    // PKCS#8 (RFC 5208) around ECPrivateKey (RFC 5915): a string of 32 octets is the secret.
    let der = key.secret_der();
    let at = der.windows(2).position(|window| window == [0x04, 0x20]).unwrap() + 2;
    let secret = &der[at..at + 32];
    let mut shown = format!("{authority:?} {:?}", authority.ca);
    let authority = Arc::new(authority);
    shown += &format!("{:?}", authority.mint(&LeafNames::for_host("a.example").unwrap()));
    let (server, client) = pair_of(authority);
    let session = server.session(Some("a.example"), "a.example", TlsVersion::Tls12);
    shown += &format!("{server:?} {client:?} {session:?}");
    let hex = |upper| {
        let digits = secret.iter().map(|byte| match upper {
            true => format!("{byte:02X}"),
            false => format!("{byte:02x}"),
        });
        digits.collect::<String>()
    };
    let list = format!("{secret:?}");
    let list = list.trim_matches(['[', ']']);
    let base64 = String::from_utf8_lossy(&text).lines().nth(1).unwrap().to_owned();
    for form in [&hex(true), &hex(false), list, &base64] {
        assert!(!shown.contains(form), "{form} is in {shown}");
    }
}
