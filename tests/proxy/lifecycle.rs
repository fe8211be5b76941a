//! Start and end of the program.

use rustix::process::Signal;

use crate::support::flowtap::Flowtap;

#[test]
fn both_signals_end_with_a_whole_bundle_and_status_0() {
    for signal in [Signal::INT, Signal::TERM] {
        let stopped = Flowtap::start(&[]).stop_with(signal);
        assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
        assert_eq!(stopped.bundle.json("manifest.json")["format_version"], "1.0.0");
    }
}
