//! Configuration files and `flowtap config`, by the program as a user has it.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A working folder and a home, without anything else of the user's.
struct Place {
    root: TempDir,
}

impl Place {
    fn new(folder: &str, user: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("home/.config/flowtap")).unwrap();
        fs::create_dir_all(root.path().join("work")).unwrap();
        let place = Place { root };
        if !folder.is_empty() {
            fs::write(place.work().join("flowtap.toml"), folder).unwrap();
        }
        if !user.is_empty() {
            fs::write(place.root.path().join("home/.config/flowtap/config.toml"), user).unwrap();
        }
        place
    }

    fn work(&self) -> std::path::PathBuf {
        self.root.path().join("work")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
        command.args(line.split_whitespace()).current_dir(self.work());
        command.env_clear().env("HOME", self.root.path().join("home")).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What `flowtap config … --json` tells.
    fn told(&self, line: &str) -> Value {
        let output = self.run(&format!("config {line} --json"));
        assert!(output.status.success(), "{line}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The words of a wrong call.
    fn refusal(&self, line: &str) -> String {
        let output = self.run(line);
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {words}");
        assert_eq!(words.lines().count(), 1, "{words}");
        words
    }
}

fn line(file: &Path, line: u32) -> Value {
    json!([{"file": file.to_str().unwrap(), "line": line}])
}

#[test]
fn flags_win_over_the_folder_and_that_over_the_user() {
    let place = Place::new(
        "port = 8081\nexclude = [\"a\"]\nset = {anticache = true}\n\n[proxy]\nport = 8082\n",
        "port = 1\napp = \"mine\"\nexclude = \"b\"\nno-output = true\ndomain = [\"x\", \"y\"]\n\
         [set]\nproxyauth = \"user:secret\"\nanticache = false\nflow_detail = 2\n",
    );
    let user = place.root.path().join("home/.config/flowtap/config.toml");
    let folder = Path::new("flowtap.toml");
    let told = place.told("");
    assert_eq!(told["command"], "proxy");
    assert_eq!(told["files"][0], json!({"path": user.to_str().unwrap(), "read": true}));
    let values = &told["values"];
    assert_eq!(values["port"], json!({"value": "8082", "from": line(folder, 6)}));
    assert_eq!(values["app"], json!({"value": "mine", "from": line(&user, 2)}));
    assert_eq!(values["exclude"]["value"], json!(["b", "a"]));
    assert_eq!(values["no-output"], json!({"value": true, "from": line(&user, 4)}));
    assert_eq!(values["domain"], json!({"value": ["x", "y"], "from": line(&user, 5)}));
    let set = ["proxyauth=***", "flow_detail=2", "anticache=true"];
    assert_eq!(values["set"]["value"], json!(set));
    assert_eq!(values["listen"], json!({"value": null, "default": "127.0.0.1", "from": []}));
    assert_eq!(place.told("discover")["values"]["port"]["value"], "8081");

    let line = "proxy -p 9 -d z --set flow_detail=0 -o x.zip -e c";
    let values = &place.told(line)["values"];
    assert_eq!(values["port"], json!({"value": "9", "from": [{"option": true}]}));
    assert_eq!(values["domain"]["value"], json!(["z"]));
    assert_eq!(values["exclude"]["value"], json!(["c"]));
    assert_eq!(values["output"]["value"], "x.zip");
    assert_eq!(values["no-output"]["value"], false);
    let set = ["proxyauth=***", "anticache=true", "flow_detail=0"];
    assert_eq!(values["set"]["value"], json!(set));
}

/// Nobody else does: a CA with its key was made in a folder called `~`, in the working folder.
#[test]
fn the_home_folder_may_be_written_as_a_tilde() {
    let text = "confdir = \"~/.flowtap\"\nca = \"~\"\noutput = \"~/a/~/c.zip\"\napp = \"~/x\"\n\
                upstream-ca = [\"a~/b\", \"~c/d\", \"~/e\"]\n[export]\nhar = \"~/h.har\"\n";
    let place = Place::new("", text);
    let home = place.root.path().join("home");
    let at = |path: &str| json!(home.join(path).to_str().unwrap());
    let judge = |line: &str| {
        let values = place.told(line)["values"].clone();
        assert_eq!(values["confdir"]["value"], at(".flowtap"));
        assert_eq!(values["ca"]["value"], json!(home.to_str().unwrap()));
        assert_eq!(values["output"]["value"], at("a/~/c.zip"));
        assert_eq!(values["app"]["value"], "~/x");
        assert_eq!(values["upstream-ca"]["value"], json!(["a~/b", "~c/d", at("e")]));
    };
    judge("proxy");
    assert_eq!(place.told("export")["values"]["har"]["value"], at("h.har"));
    fs::write(place.work().join("named.toml"), text).unwrap();
    judge("proxy --config named.toml");
    let first = text.lines().next().unwrap();
    fs::write(home.join(".config/flowtap/config.toml"), first).unwrap();
    assert!(place.run("ca export").status.success());
    assert!(home.join(".flowtap/flowtap-ca.pem").exists() && !place.work().join("~").exists());
    // The working folder's own file leads nowhere else.
    let place = Place::new("output = \"~/c.zip\"\n", "");
    assert_eq!(place.told("")["values"]["output"]["value"], "~/c.zip");
}

#[test]
fn an_option_on_the_command_line_wins_over_a_flag_in_a_file_that_sets_it() {
    let place = Place::new("verbose = 3\n", "");
    assert_eq!(place.told("")["values"]["verbose"]["value"], 3);
    let told = place.told("proxy --set anticache=true");
    assert_eq!(told["values"]["verbose"]["value"], 3);
    let told = place.told("proxy --set flow_detail=1");
    assert_eq!(told["values"]["verbose"]["value"], false);
    assert_eq!(told["values"]["set"]["value"], json!(["flow_detail=1"]));
}

#[test]
fn a_default_does_no_harm_to_what_the_command_line_asks_for() {
    // There is no bundle, which is found out when all options have been taken.
    for (folder, line, status) in [
        ("limit = 50\nsort = \"size\"", "inspect x.zip --trace t_0007", 1),
        ("trace = \"t_0001\"", "inspect x.zip ~q", 1),
        ("trace = \"t_0001\"\nlimit = 50", "inspect x.zip", 1),
        ("json = true", "inspect x.zip --curl", 1),
        ("har = \"capture.har\"", "export x.zip --jsonl -", 1),
        ("har = \"a.har\"\n[export]\nhtml = \"a.html\"", "export x.zip", 1),
        ("github = true\njunit = \"x.xml\"", "run --no-mcp -- true", 0),
        ("fail-on = [\"~all\"]", "run --no-mcp --no-output -- true", 0),
        ("no-output = true", "run --no-mcp --require ~all -- true", 3),
        ("port = 0", "ca --qr", 0),
        ("[ca]\nport = 0", "ca --qr", 2),
        ("port = 0\nmcp-port = 0\n[run]\nno-mcp = true", "run -- true", 0),
    ] {
        let output = Place::new(folder, "").run(line);
        assert_eq!(output.status.code(), Some(status), "{folder}: flowtap {line}: {output:?}");
    }
    for (user, folder, line, status) in [
        ("body = \"request\"", "", "inspect x.zip", 1),
        ("curl = true", "json = true", "inspect x.zip", 1),
        ("har = \"a.har\"", "html = \"a.html\"", "export x.zip", 1),
        ("no-output = true", "require = \"~all\"", "run --no-mcp -- true", 3),
        ("[ca.export]\npassword = \"secret\"", "", "ca export", 0),
        ("ca = \"missing.pem\"", "", "ca --confdir own", 0),
        ("[run]\nbrowser = true", "", "run --no-mcp -- /bin/true", 0),
    ] {
        let output = Place::new(folder, user).run(line);
        assert_eq!(output.status.code(), Some(status), "{user}: flowtap {line}: {output:?}");
    }
    // A place takes back what a weaker one says of the opposite.
    let told = Place::new("verbose = 2", "quiet = true").told("");
    assert_eq!(
        (&told["values"]["verbose"]["value"], &told["values"]["quiet"]["value"]),
        (&json!(2), &json!(false))
    );
    let words = Place::new("no-output = true\nfail-on = \"~all\"", "").refusal("run -- true");
    assert!(words.contains("flowtap.toml:"), "{words}");
}

#[test]
fn one_file_may_be_named_and_none_be_read() {
    let place = Place::new("port = 2\nnonsense = 1\n", "port = 1\n");
    fs::write(place.work().join("other.toml"), "listen = \"0.0.0.0\"\n").unwrap();
    assert!(place.refusal("discover").contains("flowtap.toml:2: "));
    for words in ["--no-config proxy", "proxy --no-config"] {
        assert_eq!(place.told(words)["values"]["port"]["value"], Value::Null, "{words}");
    }
    let values = &place.told("proxy --config other.toml")["values"];
    assert_eq!(
        (&values["listen"]["value"], &values["port"]["value"]),
        (&json!("0.0.0.0"), &Value::Null)
    );
    let missing = place.run("inspect --config nothing.toml x.zip");
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("nothing.toml"));
}

#[test]
fn what_is_wrong_is_told_with_its_file_and_line() {
    for (text, words) in [
        ("\nprot = 1", "flowtap.toml:2: flowtap has no option prot; did you mean port?"),
        ("[proxi]\nport = 1", "flowtap.toml:1: flowtap has no option proxi; did you mean proxy?"),
        ("[discover]\noutput = \"x\"", "flowtap.toml:2: discover has no option output"),
        ("no-mcp = \"yes\"", "flowtap.toml:1: no-mcp takes true or false"),
        ("port = true", "flowtap.toml:1: port takes a string or a whole number"),
        ("domain = [true]", "flowtap.toml:1: domain takes a list of strings"),
        ("port = 1\nport = 2", "flowtap.toml:2: "),
        ("port = 1\n= 2", "flowtap.toml:2: "),
        ("config = \"x\"", "flowtap.toml:1: config has a meaning on the command line only"),
        ("loops = 1\nport = 70000", "flowtap.toml:2: port takes a number from 0 to 65535"),
        ("domain = [\n\"a\",\n\"http://a\"]", "flowtap.toml:3: the pattern 'http://a'"),
        ("set = {flow_detail = 9}", "flowtap.toml:1: set: flow_detail takes"),
        ("output = \"-\"", "flowtap.toml:1: output takes a file"),
        (
            "output = \"x.zip\"\nno-output = true",
            "flowtap.toml:2: output and no-output contradict each other",
        ),
        (
            "[proxy]\nno-mcp = true\nmcp-port = 0",
            "flowtap.toml:3: mcp-port and no-mcp contradict each other",
        ),
    ] {
        let said = Place::new(text, "").refusal("proxy");
        assert!(said.contains(words), "{text}: {said}");
    }
    // What another command has is no fault, and neither is what is there for it alone.
    let place = Place::new("fail-on = \"~c 5xx\"\ntrace = \"t_1\"\n[export]\nredact = true\n", "");
    assert_eq!(place.told("proxy")["values"]["port"]["value"], Value::Null);
    assert_eq!(place.told("check")["values"]["fail-on"]["value"], json!(["~c 5xx"]));
}

#[test]
fn of_flags_that_switch_each_other_off_one_is_in_force() {
    let place = Place::new("mcp-port = 1\noutput = \"a.zip\"", "");
    for (line, output, no_output, port) in [
        ("proxy --no-output -o x.zip --mcp-port 2", json!("x.zip"), false, json!("2")),
        ("proxy -o x.zip --no-output --no-mcp --mcp-port 2", Value::Null, true, Value::Null),
    ] {
        let values = &place.told(line)["values"];
        assert_eq!(values["output"]["value"], output, "{line}");
        assert_eq!(values["no-output"]["value"], no_output, "{line}");
        assert_eq!(values["mcp-port"]["value"], port, "{line}");
        assert_eq!(values["no-mcp"]["value"], port.is_null(), "{line}");
    }
}

#[test]
fn config_refuses_what_the_command_would_refuse() {
    for (text, command, words) in [
        ("\nloops = 0", "", "flowtap.toml:2: loops takes a number"),
        ("domain = [\"http://x\"]", "", "flowtap.toml:1: the pattern 'http://x'"),
        ("set = {anticache = \"yes\"}", "proxy", "flowtap.toml:1: set: anticache takes"),
        ("capture-body-limit = \"5x\"", "mcp", "flowtap.toml:1: capture-body-limit: "),
        ("quiet = true\nverbose = true", "", "contradict each other"),
        ("port = 70000", "discover", "flowtap.toml:1: port takes a number"),
        ("port = 70000", "run", "flowtap.toml:1: port takes a number"),
        ("port = 70000", "ca", "flowtap.toml:1: port takes a number"),
        ("sort = \"taste\"", "inspect", "flowtap.toml:1: sort does not know"),
        ("fail-on = [\"~q\",\n\"~~\"]", "check", "flowtap.toml:2: fail-on: "),
        ("har = \"a.har\"\nhtml = \"a.html\"", "export", "flowtap.toml:"),
        ("filter = \"(\"", "export", "flowtap.toml:1: filter: "),
    ] {
        let place = Place::new(text, "");
        for form in ["", " --json"] {
            let said = place.refusal(&format!("config {command}{form}"));
            assert!(said.contains(words), "{text}: {said}");
            assert!(said.contains("flowtap.toml:"), "{text}: {said}");
        }
    }
    let said = Place::new("", "").refusal("config proxy -p 70000");
    assert!(said.contains("--port takes a number"), "{said}");
}

#[test]
fn config_asks_for_nothing_more_and_makes_nothing() {
    let place = Place::new("port = 1\noutput = \"out.zip\"\n[ca.export]\noutput = \"c.zip\"", "");
    for command in [
        "proxy",
        "run",
        "mcp",
        "discover",
        "inspect",
        "check",
        "export",
        "recover",
        "ca",
        "ca install",
        "ca uninstall",
        "ca export",
        "ca check",
        "config",
        "completions",
        "man",
        "inspect x.zip ~q",
        "run -- curl http://a.example/",
        "ca check a.example",
    ] {
        let output = place.run(&format!("config {command}"));
        assert!(output.status.success(), "{command}: {output:?}");
    }
    let names = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(names(&place.work()), ["flowtap.toml"]);
    assert_eq!(names(&place.root.path().join("home")), [".config"]);
}

#[test]
fn what_could_harm_is_not_taken_from_the_working_folder() {
    for harmful in [
        "listen = \"0.0.0.0\"",
        "insecure-upstream = true",
        "no-redact = true",
        "confdir = \".\"",
        "mcp-token = \"known\"",
        "no-mcp = false",
        "set = {proxyauth = \"\"}",
        "set = {redact = false}",
        "output = \"../x.zip\"",
        "output = \"link/x.zip\"",
        "output = \"link.zip\"",
        "output = \"Makefile\"",
    ] {
        let place = Place::new(&format!("port = 0\n{harmful}\n"), "");
        symlink("..", place.work().join("link")).unwrap();
        symlink("../there.zip", place.work().join("link.zip")).unwrap();
        // Whatever the command is, and though an option says otherwise.
        for command in ["proxy --listen 127.0.0.1", "inspect x.zip"] {
            let words = place.refusal(command);
            assert!(words.contains("flowtap.toml:2: ") && words.contains("option"), "{words}");
            assert!(words.contains(".config/flowtap/config.toml"), "{words}");
        }
    }
    let own = "listen = \"::1\"\nno-redact = true\n";
    let place = Place::new("output = \"out.zip\"\n", own);
    let values = &place.told("")["values"];
    assert_eq!(
        (&values["listen"]["value"], &values["output"]["value"]),
        (&json!("::1"), &json!("out.zip"))
    );
}

#[test]
fn a_file_that_everybody_can_change_is_refused() {
    let place = Place::new("port = 1\n", "");
    let file = place.work().join("flowtap.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let words = place.refusal("inspect x.zip");
    assert!(words.contains("every user can change it") && words.contains("--no-config"), "{words}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    assert_eq!(place.told("")["values"]["port"]["value"], "1");
}

#[test]
fn the_token_of_the_environment_wins_over_files_and_no_secret_is_shown() {
    let place = Place::new("", "mcp-token = \"secret1\"\nset = [\"proxyauth=u:secret2\"]\n");
    for (variable, from) in [(None, ":1"), (Some("secret3"), "FLOWTAP_MCP_TOKEN")] {
        for form in ["", " --json"] {
            let mut command = place.command(&format!("config{form}"));
            variable.map(|token| command.env("FLOWTAP_MCP_TOKEN", token));
            let output = command.output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && !text.contains("secret"), "{text}");
            let from = if form.is_empty() { from } else { from.trim_start_matches(':') };
            assert!(text.contains(from), "{text}");
        }
    }
}

#[test]
fn credentials_of_proxies_are_hidden_however_they_are_written() {
    for url in [
        "u:s3cret@proxy:3128",
        "http://u:s3cret@proxy:3128",
        "SOCKS5H://u:s3cr@et@proxy:3128",
        "http://u/x:s3cret@proxy:3128",
        "u:s3cret@proxy:3128/?to=http://there",
    ] {
        let place = Place::new("", &format!("upstream = \"{url}\"\n"));
        for line in ["config", "config --json"] {
            let output = place.run(line);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("***@proxy:3128") && !text.contains("s3cr"), "{url}: {text}");
        }
    }
    // What is no address of a proxy may have such a sign.
    let values = &Place::new("", "").told("check --fail-on a@b")["values"];
    assert_eq!(values["fail-on"]["value"], json!(["a@b"]));
    let words = Place::new("", "").refusal("ca check --proxy http://u:s3cret@proxy:3128");
    assert!(words.contains("proxy:3128") && !words.contains("s3cret"), "{words}");
}

#[test]
fn what_stands_in_a_file_cannot_drive_the_terminal() {
    for text in [
        "\"\\u001b]0;x\\u0007\" = 1",
        "port = \"\\u001b]0;x\"",
        "domain = \"\\u001bx y\"",
        "set = {\"\\u001bx\" = 1}",
    ] {
        let words = Place::new(text, "").refusal("proxy");
        assert!(words.contains("\\x1b") && !words.trim_end().contains(char::is_control), "{words}");
    }
}

#[test]
fn where_captures_go_is_not_where_a_certificate_goes() {
    let place = Place::new("output = \"capture.zip\"\n", "");
    let output = place.run("ca export --confdir own");
    assert!(output.stdout.starts_with(b"-----BEGIN CERTIFICATE-----"), "{output:?}");
    assert!(!place.work().join("capture.zip").exists());
}

#[test]
fn what_is_shown_can_be_read_again() {
    let place = Place::new("port = 3\ndomain = [\"a\", \"*.b\"]\nno-mcp = true\n", "");
    let shown = place.run("config");
    fs::write(place.work().join("again.toml"), &shown.stdout).unwrap();
    let (once, again) = (place.told(""), place.told("--config again.toml proxy"));
    for key in ["port", "domain", "no-mcp", "output"] {
        assert_eq!(once["values"][key]["value"], again["values"][key]["value"], "{key}");
    }
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("port = \"3\"  # flowtap.toml:1\n"), "{text}");
    assert!(text.contains("# output: capture.zip  (default)\n"), "{text}");
}
