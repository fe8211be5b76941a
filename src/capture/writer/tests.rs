use super::*;
use crate::capture::entry::ended;
use crate::flow::record::{Exchange, FlowId, Intervention, Message, Scheme, Timing};

/// A request without an answer.
pub(in crate::capture) fn request(id: u64) -> Exchange {
    Exchange {
        id: FlowId(id),
        scheme: Scheme::Http,
        target: None,
        client: "127.0.0.1:1".parse().unwrap(),
        client_tls: None,
        upstream: None,
        request: Message { head: "GET / HTTP/1.1\r\n\r\n".into(), ..Message::default() },
        response: None,
        timing: Timing::default(),
        error: None,
        intervention: Intervention::default(),
    }
}

/// An exchange that has ended, all of it in its frame.
pub(in crate::capture) fn exchange() -> FlowEvent {
    ended(&request(1))
}

/// A writer without a packer, and its folder.
pub(in crate::capture) fn writer(output: PathBuf) -> (Writer, JournalFolder) {
    let (folder, _) = JournalFolder::create(&output).unwrap();
    let (jobs, _) = crossbeam_channel::unbounded();
    let stats = Arc::new(Stats::default());
    let (notices, _) = Notices::channel(stats.clone());
    let config = RecorderConfig { output, app: "a".into(), part_traces: 9 };
    let shared = Arc::default();
    let writer = Writer::start(config, folder.clone(), jobs, shared, stats, notices);
    (writer.unwrap(), folder)
}

#[test]
fn the_end_tells_why_the_last_try_failed() {
    let parent = tempfile::tempdir().unwrap();
    let output = parent.path().join("c.zip");
    let (mut writer, folder) = writer(output.clone());
    assert!(!writer.take(exchange()));
    std::fs::remove_dir_all(folder.path()).unwrap();
    let (_other, _) = JournalFolder::create(&output).unwrap();
    let written = writer.finish();
    let path = folder.path().display();
    let expected = format!("cannot write {path}: another capture has taken its place");
    assert_eq!((written.lost, written.failed), (1, Some(expected)));
}

#[test]
fn time_goes_on_while_the_machine_sleeps_and_never_back() {
    const HOUR_US: u64 = 3_600_000_000;
    let parent = tempfile::tempdir().unwrap();
    let (mut writer, _folder) = writer(parent.path().join("c.zip"));
    let began = writer.started_us;
    // An hour of which `started` knows nothing.
    writer.started_us = began - HOUR_US;
    assert!(writer.now_us() >= began);
    // The clock was set back by an hour.
    writer.started_us = began + HOUR_US;
    assert!(writer.now_us() >= began + HOUR_US);
}
