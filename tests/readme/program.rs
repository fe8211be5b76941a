//! The program as one file that needs nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of one that is there, as that of a release; and inside a network of its own.
pub(crate) const PROGRAM: &str = "FLOWTAP_README_PROGRAM";

/// Builds it, unless one is named, and gives its path.
pub(crate) fn build() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os(PROGRAM) {
            return path.into();
        }
        let host = host();
        let mut cargo = Command::new(env!("CARGO"));
        // With --target, build scripts and macros are linked as usual.
        cargo.args(["build", "--quiet", "--locked", "--bin", "flowtap", "--target", &host]);
        if cfg!(not(feature = "aws-lc-rs")) {
            cargo.args(["--no-default-features", "--features", "ring"]);
        }
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
        // Nobody debugs it, and it would be most of a gigabyte.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
        let status = cargo.status().unwrap();
        assert!(status.success(), "{cargo:?}: {status}");
        let profile = Path::new(env!("CARGO_BIN_EXE_flowtap")).parent().unwrap();
        profile.parent().unwrap().join(host).join("debug/flowtap")
    })
}

fn host() -> String {
    let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
    let output = Command::new(rustc).arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}
