//! The pages that help a device to trust the CA: steps for each system and the certificate.

use std::borrow::Cow;
use std::net::IpAddr;

use super::reply;
use super::rewrite::ConnectionField;

/// The certificate in the forms that systems take.
#[derive(Clone, Copy, Debug)]
pub struct Certificates<'a> {
    /// PEM.
    pub pem: &'a [u8],
    /// DER.
    pub der: &'a [u8],
    /// PKCS#12, the certificate alone.
    pub p12: &'a [u8],
}

/// A page, ready to be answered with [`Page::write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// The status.
    pub status: u16,
    /// The media type.
    pub content_type: &'static str,
    /// The content.
    pub body: Cow<'a, [u8]>,
}

impl Page<'_> {
    /// Appends the page as an answer.
    pub fn write(&self, out: &mut Vec<u8>, connection: ConnectionField, head_only: bool) {
        let Page { status, content_type, body } = self;
        reply::write_reply(out, *status, content_type, body, connection, head_only);
    }
}

/// Whether requests to this host, in lower case, are answered with these pages.
pub fn is_device_host(host: &str) -> bool {
    matches!(host, "mitm.it" | "flowtap.it")
}

/// Whether one of these pages answers a request that was sent to the proxy as if it were a server.
///
/// Only under an address, and under no name: a web page could have a name of its own lead here (DNS
/// rebinding), and would learn from the certificate whose machine this is.
pub fn is_direct_page(host: &str, path: &[u8]) -> bool {
    let is_address = host == "localhost" || host.parse::<IpAddr>().is_ok();
    let path = path.split(|&byte| byte == b'?').next().unwrap_or_default();
    is_address && matches!(path, b"/" | b"/cert/pem" | b"/cert/cer" | b"/cert/p12")
}

/// The page for a request. `path` is path and query in the origin form.
pub fn page<'a>(method: &[u8], path: &[u8], certificates: Certificates<'a>) -> Page<'a> {
    if !matches!(method, b"GET" | b"HEAD") {
        return text_page(405, "flowtap: only GET and HEAD here\n");
    }
    let path = path.split(|&byte| byte == b'?').next().unwrap_or_default();
    let certificate =
        |content_type, body| Page { status: 200, content_type, body: Cow::Borrowed(body) };
    match path {
        b"/" => Page {
            status: 200,
            content_type: "text/html; charset=utf-8",
            body: Cow::Borrowed(STEPS.as_bytes()),
        },
        b"/cert/pem" => certificate("application/x-x509-ca-cert", certificates.pem),
        b"/cert/cer" => certificate("application/x-x509-ca-cert", certificates.der),
        b"/cert/p12" => certificate("application/x-pkcs12", certificates.p12),
        _ => text_page(404, "flowtap: there is no such page; begin at /\n"),
    }
}

fn text_page(status: u16, text: &'static str) -> Page<'static> {
    let body = Cow::Borrowed(text.as_bytes());
    Page { status, content_type: "text/plain; charset=utf-8", body }
}

const STEPS: &str = include_str!("device_page/steps.html");

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATES: Certificates<'_> =
        Certificates { pem: b"pem bytes", der: b"der bytes", p12: b"p12 bytes" };

    #[test]
    fn certificates_have_their_types() {
        for (path, content_type, body) in [
            ("/cert/pem", "application/x-x509-ca-cert", "pem bytes"),
            ("/cert/cer", "application/x-x509-ca-cert", "der bytes"),
            ("/cert/p12?again", "application/x-pkcs12", "p12 bytes"),
        ] {
            let page = page(b"GET", path.as_bytes(), CERTIFICATES);
            assert_eq!((page.status, page.content_type), (200, content_type), "{path}");
            assert_eq!(&*page.body, body.as_bytes(), "{path}");
        }
    }

    #[test]
    fn first_page_links_every_certificate() {
        let page = page(b"HEAD", b"/", CERTIFICATES);
        let text = String::from_utf8(page.body.into_owned()).unwrap();
        for link in ["/cert/pem", "/cert/cer", "/cert/p12"] {
            assert!(text.contains(&format!("href=\"{link}\"")), "{link}");
        }
    }

    #[test]
    fn an_address_leads_to_the_pages_and_a_name_does_not() {
        for host in ["192.168.1.20", "127.0.0.1", "::1", "localhost"] {
            assert!(is_direct_page(host, b"/") && is_direct_page(host, b"/cert/cer?a"), "{host}");
            assert!(!is_direct_page(host, b"/other") && !is_direct_page(host, b"*"), "{host}");
        }
        for host in ["a.example", "127.0.0.1.nip.example", "localhost.example", ""] {
            assert!(!is_direct_page(host, b"/"), "{host}");
        }
    }

    #[test]
    fn every_system_has_its_steps() {
        for system in ["iPhone", "Android", "Windows", "macOS", "Linux", "Firefox"] {
            assert!(STEPS.contains(&format!("<summary>{system}")), "{system}");
        }
        assert!(!STEPS.contains("//"), "nothing is fetched from elsewhere");
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        assert_eq!(page(b"GET", b"/cert/key", CERTIFICATES).status, 404);
        let mut out = Vec::new();
        page(b"POST", b"/", CERTIFICATES).write(&mut out, ConnectionField::Omit, false);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{text}");
        assert!(text.contains("\r\nAllow: GET, HEAD\r\n"), "{text}");
    }
}
