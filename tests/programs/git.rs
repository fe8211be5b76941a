//! Git over smart HTTP.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::run;
use crate::setting::Setting;

/// Git without the user's settings.
fn git(home: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(home)
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs([("NO_PROXY", ""), ("no_proxy", "")])
        .args(["-c", "user.name=Tester", "-c", "user.email=tester@example.com"]);
    command
}

#[test]
fn clones() {
    let setting = Setting::new();
    let home = setting.path();
    let work = home.join("work");
    run(git(home).args(["init", "--quiet"]).arg(&work));
    // Random enough that the pack is not a handful of bytes.
    let numbers = (1..100_000_u64).map(|it| it.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string());
    let content = numbers.collect::<Vec<_>>().join("\n");
    fs::write(work.join("file"), &content).unwrap();
    run(git(home).arg("-C").arg(&work).args(["add", "file"]));
    run(git(home).arg("-C").arg(&work).args(["commit", "--quiet", "-m", "First"]));
    let served = home.join("served");
    run(git(home).args(["clone", "--quiet", "--bare"]).arg(&work).arg(served.join("it.git")));

    let origins = [setting.git_origin(&served, false), setting.git_origin(&served, true)];
    for (number, origin) in origins.iter().enumerate() {
        let target = home.join(format!("clone-{number}"));
        run(git(home)
            .arg("-c")
            .arg(format!("http.proxy={}", setting.proxy))
            .env("GIT_SSL_CAINFO", &setting.ca)
            .args(["clone", "--quiet", &format!("{}/it.git", origin.url)])
            .arg(&target));
        assert!(fs::read_to_string(target.join("file")).unwrap() == content);
    }

    let bundle = setting.finish();
    for origin in &origins {
        let url = format!("{}/it.git/info/refs?service=git-upload-pack", origin.url);
        assert_eq!(*bundle.trace("GET", &url).status(), 200);
        let traces = bundle.traces("POST", &format!("{}/it.git/git-upload-pack", origin.url));
        let pack = traces.last().expect("a request for the pack");
        assert!(!pack.request.is_empty());
        assert!(pack.response.len() > 100_000, "the pack has {} bytes", pack.response.len());
        assert!(pack.response.windows(4).any(|bytes| bytes == b"PACK"));
    }
}
