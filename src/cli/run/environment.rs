//! The environment of a program that is run: where the proxy is, and whom to trust.
//!
//! Each variable is read by somebody. Those that replace the roots of a program get the system's
//! with the CA; those that add to them get the CA alone.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::cli::proxy::Begun;
use crate::cli::run::folder::Files;

/// What names the proxy.
const PROXY: &[&str] = &[
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "npm_config_proxy",
    "npm_config_https_proxy",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
    "GLOBAL_AGENT_HTTP_PROXY",
    "GLOBAL_AGENT_HTTPS_PROXY",
    "CGI_HTTP_PROXY",
    "PIP_PROXY",
    "CARGO_HTTP_PROXY",
    "FLOWTAP_PROXY",
];
/// What names hosts that go around the proxy: none.
const NO_PROXY: &[&str] = &["no_proxy", "NO_PROXY", "GLOBAL_AGENT_NO_PROXY"];
/// What names the CA alone.
const CA: &str = "FLOWTAP_CA";
/// What names roots beside those that Node brings.
const NODE_CA: &str = "NODE_EXTRA_CA_CERTS";
/// What names all roots.
const ROOTS: &[&str] = &[
    "SSL_CERT_FILE",
    "NIX_SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "WEBSOCKET_CLIENT_CA_BUNDLE",
    "HTTPLIB2_CA_CERTS",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
    "PERL_LWP_SSL_CA_FILE",
    "HEX_CACERTS_PATH",
    "npm_config_cafile",
    "YARN_HTTPS_CA_FILE_PATH",
];
/// Where MCP is served.
const MCP: &str = "FLOWTAP_MCP";
/// Has newer Nodes use the proxy.
const NODE_USES_PROXY: &str = "NODE_USE_ENV_PROXY";
/// The file of settings of wget.
const WGET_SETTINGS: &str = "WGETRC";
/// How many settings of git stand in the environment, each in two variables with its number.
const GIT_SETTINGS: &str = "GIT_CONFIG_COUNT";
/// Options of Node's own.
const NODE_OPTIONS: &str = "NODE_OPTIONS";
/// Options of every Java virtual machine.
const JAVA_OPTIONS: &str = "JAVA_TOOL_OPTIONS";

/// What a program is told by its environment.
#[derive(Debug)]
pub(super) struct Environment<'a> {
    files: &'a Files,
    /// Where the proxy is reached from this machine.
    pub(super) proxy: SocketAddr,
    url: String,
    mcp: Option<SocketAddr>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(begun: &Begun<'a>, files: &'a Files) -> Self {
        let (proxy, url) = (reached(begun.address), proxy_url(begun));
        Environment { files, proxy, url, mcp: begun.mcp }
    }

    /// The CA's certificate alone, as PEM.
    pub(super) fn ca(&self) -> &'a Path {
        &self.files.ca
    }

    /// Variables that are to be set, or removed where they have no value; `inherited` tells what
    /// the program would have without them.
    pub(super) fn variables(
        &self,
        inherited: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<(Cow<'static, str>, Option<OsString>)> {
        let mut variables = self.git_settings(inherited(GIT_SETTINGS));
        let mut set = |names: &[&'static str], value: Option<OsString>| {
            variables.extend(names.iter().map(|name| (Cow::Borrowed(*name), value.clone())));
        };
        set(PROXY, Some(self.url.clone().into()));
        set(NO_PROXY, Some(OsString::new()));
        set(&[CA], Some(self.files.ca.clone().into()));
        set(&[NODE_CA], Some(self.files.node_ca.clone().into()));
        set(ROOTS, Some(self.files.roots.clone().into()));
        set(&[MCP], self.mcp.map(|mcp| format!("http://{mcp}/sse").into()));
        set(&[NODE_USES_PROXY], Some("1".into()));
        set(&[WGET_SETTINGS], Some(self.files.wget.clone().into()));
        set(&[NODE_OPTIONS], Some(joined(inherited(NODE_OPTIONS), self.node_options())));
        set(&[JAVA_OPTIONS], Some(joined(inherited(JAVA_OPTIONS), self.java_options())));
        variables
    }

    /// One more setting of git: in its files a proxy comes before that of the environment.
    fn git_settings(
        &self,
        inherited: Option<OsString>,
    ) -> Vec<(Cow<'static, str>, Option<OsString>)> {
        let there = inherited.unwrap_or_default();
        let there = if there.is_empty() { Some(0) } else { there.to_str().and_then(parse) };
        // Git refuses what is no number, and says so.
        let Some(number) = there else { return Vec::new() };
        let key = format!("GIT_CONFIG_KEY_{number}");
        let value = format!("GIT_CONFIG_VALUE_{number}");
        vec![
            (GIT_SETTINGS.into(), Some((number + 1).to_string().into())),
            (key.into(), Some("http.proxy".into())),
            (value.into(), Some(self.url.clone().into())),
        ]
    }

    fn node_options(&self) -> OsString {
        let mut options = OsString::from("--require ");
        options.push(node_word(&self.files.node));
        options
    }

    fn java_options(&self) -> OsString {
        let (host, port) = (self.proxy.ip(), self.proxy.port());
        // Without a value of its own, hosts of this machine would go around the proxy. A password
        // that was set for another store would be tried on this one.
        let mut options = OsString::from(format!(
            "-Dhttp.proxyHost={host} -Dhttp.proxyPort={port} -Dhttps.proxyHost={host} \
             -Dhttps.proxyPort={port} -Dhttp.nonProxyHosts= \
             -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword= \
             -Djavax.net.ssl.trustStore="
        ));
        options.push(java_word(&self.files.java));
        options
    }
}

/// A path as NODE_OPTIONS can hold it: in double quotes, in which a backslash has the next letter
/// stand for itself.
fn node_word(path: &Path) -> OsString {
    quoted(path, |byte| match byte {
        b'"' => Some(b"\\\""),
        b'\\' => Some(b"\\\\"),
        _ => None,
    })
}

/// A path as JAVA_TOOL_OPTIONS can hold it: in double quotes, which can hold all but themselves;
/// these stand in single ones between.
fn java_word(path: &Path) -> OsString {
    quoted(path, |byte| (byte == b'"').then_some(b"\"'\"'\""))
}

/// A path in double quotes, with another text for some of its bytes.
fn quoted(path: &Path, other: impl Fn(u8) -> Option<&'static [u8]>) -> OsString {
    let mut word = vec![b'"'];
    for byte in path.as_os_str().as_bytes() {
        match other(*byte) {
            Some(text) => word.extend_from_slice(text),
            None => word.push(*byte),
        }
    }
    word.push(b'"');
    OsString::from_vec(word)
}

/// The proxy's URL as programs need it.
pub(super) fn proxy_url(begun: &Begun<'_>) -> String {
    url(reached(begun.address), begun.config.options.proxyauth.as_deref())
}

/// The URL of a proxy that asks for these credentials, `user:password`.
fn url(proxy: SocketAddr, credentials: Option<&str>) -> String {
    let Some(credentials) = credentials else { return format!("http://{proxy}") };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    format!("http://{}:{}@{proxy}", escaped(user), escaped(password))
}

fn parse(number: &str) -> Option<u32> {
    number.parse().ok().filter(|number| *number < u32::MAX)
}

/// Options after those that are there: the last one of a kind is in force.
fn joined(there: Option<OsString>, added: OsString) -> OsString {
    match there.filter(|there| !there.is_empty()) {
        None => added,
        Some(mut there) => {
            there.push(OsStr::new(" "));
            there.push(added);
            there
        }
    }
}

/// Where a listening socket is reached from this machine.
fn reached(listening: SocketAddr) -> SocketAddr {
    let host = match listening.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, listening.port())
}

/// Text as it can stand in the user information of a URL (RFC 3986 section 3.2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn files() -> Files {
        let [ca, node_ca, roots, java, node, wget] =
            ["ca.pem", "node.pem", "roots.pem", "roots.p12", "proxy.cjs", "wgetrc"]
                .map(|name| format!("/t/{name}").into());
        Files { ca, node_ca, roots, java, node, wget }
    }

    fn variables(
        environment: &Environment<'_>,
        inherited: impl Fn(&str) -> Option<OsString>,
    ) -> BTreeMap<Cow<'static, str>, Option<String>> {
        let text = |value: OsString| value.into_string().unwrap();
        let all = environment.variables(inherited).into_iter();
        all.map(|(name, value)| (name, value.map(text))).collect()
    }

    #[test]
    fn all_variables_are_set_whatever_was_there() {
        let files = files();
        let proxy = "127.0.0.1:81".parse().unwrap();
        let mcp = Some("127.0.0.1:82".parse().unwrap());
        let environment = Environment { files: &files, proxy, url: url(proxy, None), mcp };
        let set = variables(&environment, |name| name.ends_with("OPTIONS").then(|| "-old".into()));
        let expected = |names: &[&str], value: &str| {
            for name in names {
                assert_eq!(set[*name].as_deref(), Some(value), "{name}");
            }
        };
        expected(PROXY, "http://127.0.0.1:81");
        expected(NO_PROXY, "");
        expected(&["FLOWTAP_CA"], "/t/ca.pem");
        expected(&["NODE_EXTRA_CA_CERTS"], "/t/node.pem");
        expected(&["GIT_CONFIG_COUNT"], "1");
        expected(&["GIT_CONFIG_KEY_0"], "http.proxy");
        expected(&["GIT_CONFIG_VALUE_0"], "http://127.0.0.1:81");
        expected(ROOTS, "/t/roots.pem");
        expected(&["NODE_USE_ENV_PROXY"], "1");
        expected(&["WGETRC"], "/t/wgetrc");
        expected(&["FLOWTAP_MCP"], "http://127.0.0.1:82/sse");
        expected(&["NODE_OPTIONS"], "-old --require \"/t/proxy.cjs\"");
        let java = set["JAVA_TOOL_OPTIONS"].as_deref().unwrap();
        assert!(java.starts_with("-old -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=81 "));
        assert!(java.ends_with(" -Djavax.net.ssl.trustStore=\"/t/roots.p12\""), "{java}");
    }

    #[test]
    fn without_mcp_none_is_named_and_credentials_are_escaped() {
        let files = files();
        let proxy = reached("[::]:81".parse().unwrap());
        let url = url(proxy, Some("user:p@ss:é"));
        let environment = Environment { files: &files, proxy, url, mcp: None };
        let set = variables(&environment, |_| None);
        assert_eq!(set["FLOWTAP_MCP"], None);
        let url = "http://user:p%40ss%3A%C3%A9@[::1]:81";
        assert_eq!(set["https_proxy"].as_deref(), Some(url));
        assert!(set["JAVA_TOOL_OPTIONS"].as_ref().unwrap().starts_with("-Dhttp.proxyHost=::1 "));
    }

    #[test]
    fn settings_of_git_that_are_there_stay() {
        let files = files();
        let proxy: SocketAddr = "127.0.0.1:81".parse().unwrap();
        let environment = Environment { files: &files, proxy, url: url(proxy, None), mcp: None };
        let with = |count: &str| {
            let count = OsString::from(count);
            variables(&environment, |name| (name == GIT_SETTINGS).then(|| count.clone()))
        };
        let set = with("2");
        assert_eq!(set["GIT_CONFIG_COUNT"].as_deref(), Some("3"));
        assert_eq!(set["GIT_CONFIG_KEY_2"].as_deref(), Some("http.proxy"));
        assert!(!set.contains_key("GIT_CONFIG_KEY_0"));
        assert!(!with("many").contains_key("GIT_CONFIG_COUNT"));
        assert!(!with("4294967295").contains_key("GIT_CONFIG_COUNT"));
        assert_eq!(with("")["GIT_CONFIG_COUNT"].as_deref(), Some("1"));
    }

    #[test]
    fn paths_stand_in_options_whatever_they_hold() {
        let path = Path::new("/a \"b\" \\c's $HOME");
        assert_eq!(node_word(path), r#""/a \"b\" \\c's $HOME""#);
        assert_eq!(java_word(path), r#""/a "'"'"b"'"'" \c's $HOME""#);
    }

    #[test]
    fn a_proxy_for_all_is_reached_by_loopback() {
        assert_eq!(reached("0.0.0.0:1".parse().unwrap()).to_string(), "127.0.0.1:1");
        assert_eq!(reached("10.0.0.1:1".parse().unwrap()).to_string(), "10.0.0.1:1");
    }
}
