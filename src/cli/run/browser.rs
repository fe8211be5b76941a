//! A browser that is run: found, and started with a profile of its own that trusts the CA.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::run::environment::Environment;
use crate::cli::run::folder::Folder;
use crate::cli::run::program;
use crate::error::{Error, Result};
use crate::tls::authority::Authority;

/// A browser, and what it is to be given.
#[derive(Debug)]
pub(super) struct Browser {
    path: PathBuf,
    is_firefox: bool,
    /// Addresses and options.
    arguments: Vec<OsString>,
}

/// Names of browsers, as they are asked for, with what they are called where they are installed.
/// The first that is there is taken where any will do.
const BROWSERS: &[(&str, &[&str])] = &[
    (
        "chromium",
        &["chromium", "chromium-browser", "/Applications/Chromium.app/Contents/MacOS/Chromium"],
    ),
    (
        "chrome",
        &[
            "google-chrome",
            "google-chrome-stable",
            "/opt/google/chrome/chrome",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        ],
    ),
    (
        "edge",
        &[
            "microsoft-edge",
            "microsoft-edge-stable",
            "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
        ],
    ),
    (
        "brave",
        &["brave-browser", "brave", "/Applications/Brave Browser.app/Contents/MacOS/Brave Browser"],
    ),
    ("firefox", &["firefox", "firefox-esr", "/Applications/Firefox.app/Contents/MacOS/firefox"]),
];

/// What silences all that a Chromium does beside what its user does.
const CHROMIUM_QUIET: &[&str] = &[
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--no-service-autorun",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-search-engine-choice-screen",
    "--disable-sync",
    "--metrics-recording-only",
    "--password-store=basic",
    "--use-mock-keychain",
    // Chromium connects to no port 9, so these are asked for nothing.
    "--component-updater=url-source=http://127.0.0.1:9/",
    "--gaia-url=http://127.0.0.1:9/",
    "--disable-features=AutofillServerCommunication,CertificateTransparencyComponentUpdater,\
     InterestFeedContentSuggestions,MediaRouter,OptimizationHints,Translate",
];

/// What has a Firefox do nothing beside what its user does.
const FIREFOX_QUIET: &[(&str, &str)] = &[
    ("app.normandy.enabled", "false"),
    ("app.update.auto", "false"),
    ("app.update.enabled", "false"),
    ("browser.aboutwelcome.enabled", "false"),
    ("browser.discovery.enabled", "false"),
    ("browser.newtab.preload", "false"),
    ("browser.newtabpage.enabled", "false"),
    ("browser.newtabpage.activity-stream.feeds.section.topstories", "false"),
    ("browser.newtabpage.activity-stream.feeds.topsites", "false"),
    ("browser.topsites.contile.enabled", "false"),
    ("browser.region.network.url", "\"\""),
    ("browser.safebrowsing.downloads.remote.enabled", "false"),
    ("browser.safebrowsing.malware.enabled", "false"),
    ("browser.safebrowsing.phishing.enabled", "false"),
    ("browser.search.update", "false"),
    ("browser.shell.checkDefaultBrowser", "false"),
    ("browser.startup.homepage", "\"about:blank\""),
    ("browser.startup.homepage_override.mstone", "\"ignore\""),
    ("browser.tabs.warnOnClose", "false"),
    ("datareporting.healthreport.uploadEnabled", "false"),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("datareporting.policy.firstRunURL", "\"\""),
    ("dom.push.enabled", "false"),
    ("extensions.getAddons.cache.enabled", "false"),
    ("extensions.systemAddon.update.enabled", "false"),
    ("extensions.update.enabled", "false"),
    ("geo.enabled", "false"),
    ("identity.fxaccounts.enabled", "false"),
    ("media.gmp-manager.updateEnabled", "false"),
    ("messaging-system.rsexperimentloader.enabled", "false"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("network.dns.disablePrefetch", "true"),
    ("network.http.http3.enable", "false"),
    ("network.http.speculative-parallel-limit", "0"),
    ("network.prefetch-next", "false"),
    ("network.trr.mode", "5"),
    ("security.OCSP.enabled", "0"),
    ("security.remote_settings.crlite_filters.enabled", "false"),
    ("services.settings.server", "\"data:,#remote-settings-dummy/v1\""),
    ("startup.homepage_welcome_url", "\"\""),
    ("toolkit.telemetry.enabled", "false"),
    ("toolkit.telemetry.reportingpolicy.firstRun", "false"),
    ("toolkit.telemetry.server", "\"\""),
    ("trailhead.firstrun.didSeeAboutWelcome", "true"),
];

impl Browser {
    /// The browser that the first argument names or is the path of, else any.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn find(arguments: &[OsString]) -> Result<Browser> {
        let (first, rest) = match arguments.split_first() {
            Some((first, rest)) => (Some(first.as_os_str()), rest),
            None => (None, arguments),
        };
        let named = BROWSERS.iter().find(|(name, _)| first.is_some_and(|first| first == *name));
        if let Some((name, places)) = named {
            let path = places.iter().find_map(|place| program::find(place.as_ref()).ok());
            let path = path.ok_or_else(|| Error::new(format!("there is no {name} here: {HELP}")));
            return Browser::at(path?, rest);
        }
        let path = first.filter(|first| is_path(first)).map(program::find);
        if let Some(path) = path {
            return Browser::at(path.map_err(|unusable| Error::new(unusable.reason))?, rest);
        }
        let mut places = BROWSERS.iter().flat_map(|(_, places)| places.iter());
        let path = places.find_map(|place| program::find(place.as_ref()).ok());
        let path = path.ok_or_else(|| Error::new(format!("there is no browser here: {HELP}")));
        Browser::at(path?, arguments)
    }

    fn at(path: PathBuf, arguments: &[OsString]) -> Result<Browser> {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
        let is_firefox = name.is_some_and(|name| name.contains("firefox"));
        Ok(Browser { path, is_firefox, arguments: arguments.to_vec() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The command that starts it, with its new profile in `folder`. Its environment is not set.
    ///
    /// # Errors
    /// Why it cannot be started so.
    pub(super) fn command(
        &self,
        environment: &Environment<'_>,
        authority: &Authority,
        folder: &Folder,
    ) -> std::result::Result<Command, String> {
        let failed = |error: io::Error| format!("the browser's profile cannot be made: {error}");
        let profile = folder.folder("profile").map_err(failed)?;
        let mut command = Command::new(&self.path);
        if self.is_firefox {
            let prefs = firefox_prefs(environment);
            folder.put("profile/user.js", prefs.as_bytes()).map_err(failed)?;
            trust_in_firefox(&profile, environment.ca())?;
            command.args(["-no-remote", "-profile"]).arg(&profile);
            // Without it a release takes no word about where its remote settings are.
            command.env("MOZ_REMOTE_SETTINGS_DEVTOOLS", "1");
        } else {
            command.args(chromium_switches(environment, authority, &profile));
        }
        if cfg!(target_os = "linux") {
            // What it leaves behind goes as well.
            command.env("TMPDIR", folder.path());
        }
        command.args(&self.arguments);
        Ok(command)
    }
}

/// Whether a word is what a browser is called, or the path of one.
pub(super) fn is_named(word: &OsStr) -> bool {
    let name = Path::new(word).file_name().unwrap_or(word);
    let is_called = |place: &&str| Path::new(place).file_name() == Some(name);
    BROWSERS.iter().any(|(asked, places)| name == *asked || places.iter().any(is_called))
}

/// What to do where a browser is not found.
const HELP: &str = "install Chromium, Chrome, Edge, Brave or Firefox, or give the path of one \
    after --browser";

/// Whether a word is a path rather than an address or an option.
fn is_path(word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    text.contains('/') && !text.contains("://") && !text.starts_with('-') && {
        Path::new(word).is_file()
    }
}

/// It judges no certificate of flowtap's key, and takes no way around the proxy.
fn chromium_switches(
    environment: &Environment<'_>,
    authority: &Authority,
    profile: &Path,
) -> Vec<OsString> {
    let mut folder = OsString::from("--user-data-dir=");
    folder.push(profile);
    let hash = authority.leaf_key_hash();
    let mut switches = vec![
        folder,
        format!("--proxy-server=http://{}", environment.proxy).into(),
        "--proxy-bypass-list=<-loopback>".into(),
        format!("--ignore-certificate-errors-spki-list={hash}").into(),
        "--disable-quic".into(),
    ];
    switches.extend(CHROMIUM_QUIET.iter().map(OsString::from));
    switches
}

/// The preferences of a Firefox, as a user.js.
fn firefox_prefs(environment: &Environment<'_>) -> String {
    let (host, port) = (environment.proxy.ip(), environment.proxy.port());
    let mut text = String::new();
    let mut set = |name: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "user_pref(\"{name}\", {value});");
    };
    set("network.proxy.type", "1");
    for kind in ["http", "ssl"] {
        set(&format!("network.proxy.{kind}"), &format!("\"{host}\""));
        set(&format!("network.proxy.{kind}_port"), &port.to_string());
    }
    set("network.proxy.share_proxy_settings", "true");
    set("network.proxy.no_proxies_on", "\"\"");
    set("network.proxy.allow_hijacking_localhost", "true");
    set("security.enterprise_roots.enabled", "true");
    for (name, value) in FIREFOX_QUIET {
        set(name, value);
    }
    text
}

/// Puts the CA into the profile's own store, which Firefox has no switch for.
fn trust_in_firefox(profile: &Path, ca: &Path) -> std::result::Result<(), String> {
    const MISSING: &str = "Firefox is given the CA by certutil, which is not here: install it \
        (libnss3-tools, nss-tools or nss), or run a Chromium";
    let certutil = program::find("certutil".as_ref()).map_err(|_| MISSING.to_owned())?;
    let mut store = OsString::from("sql:");
    store.push(profile);
    let run = |arguments: &[&OsStr]| {
        let mut command = Command::new(&certutil);
        command.args(arguments).arg("-d").arg(&store);
        command.stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("certutil cannot run: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let words = String::from_utf8_lossy(&output.stderr);
                let words = words.trim().replace('\n', " ");
                Err(format!("certutil does not give Firefox the CA: {words}"))
            }
        }
    };
    run(&["-N".as_ref(), "--empty-password".as_ref()])?;
    let words = ["-A", "-t", "C,,", "-n", "flowtap", "-i"];
    let words: Vec<_> = words.iter().map(OsStr::new).chain([ca.as_os_str()]).collect();
    run(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_taken_from_addresses_and_options() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my-firefox");
        std::fs::write(&path, "").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        let words = [path.clone().into_os_string(), "https://a.example/b".into(), "-x".into()];
        let browser = Browser::find(&words).unwrap();
        assert!(browser.is_firefox && browser.path() == path);
        assert_eq!(browser.arguments, ["https://a.example/b", "-x"]);
        for address in ["https://a.example/b", "a.example", "a.example/b", "--headless=/x"] {
            assert!(!is_path(address.as_ref()), "{address}");
        }
    }
}
