//! A disk that is full for a while, and folders that are removed, while traffic goes on.
//!
//! The limit on the size of the program's files is lowered and raised while it runs: writes fail
//! then as they do on a full disk.

use std::fs::{DirEntry, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowtap::capture::bundle::part_path;
use flowtap::capture::journal::{JournalFolder, with_suffix};
use flowtap::limits::BODY_BLOCK_BYTES;
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use serde_json::json;

use crate::support::agent::Agent;
use crate::support::bundle::Bundle;
use crate::support::client::Client;
use crate::support::flowtap::{Ended, Flowtap, Setup};
use crate::support::origin::{Accepted, Origin};
use crate::support::{DEADLINE, get, read_head};

const CLIENTS: u64 = 4;
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(5);
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
      Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const YES: &[u8] = b"\x81\x03yes";
/// Larger than what travels inside its flow.
const LARGE: usize = 150_000;

/// What the origin answers to a path: some are large, and no two are the same.
fn answer(path: &str) -> Vec<u8> {
    let number: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
    let word = format!("{path};");
    let length = if number.is_multiple_of(8) { LARGE } else { word.len() };
    word.bytes().cycle().take(length).collect()
}

fn serve(stream: &mut Accepted) {
    loop {
        let head = String::from_utf8(read_head(stream)).unwrap();
        let Some(path) = head.split(' ').nth(1) else { return };
        if path == "/socket" {
            stream.say(SWITCH);
            let mut start = [0; 6];
            while stream.read_exact(&mut start).is_ok() {
                stream.read_exact(&mut vec![0; usize::from(start[1] & 0x7f)]).unwrap();
                stream.say(YES);
            }
            return;
        }
        let body = answer(path);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.say(&[head.as_bytes(), &body].concat());
    }
}

/// Clients that ask and check what they are answered, until they are told to stop.
struct Load {
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(tap: &Flowtap, origin: &Origin) -> Self {
        let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let clients = (0..CLIENTS).map(|client| {
            let (done, stop, to, proxy) = (done.clone(), stop.clone(), origin.addr, tap.addr);
            std::thread::spawn(move || {
                let mut stream = Client::connect(proxy);
                for number in 1_u64.. {
                    let path = format!("/{client}/{number}");
                    stream.send(get(to, &path));
                    assert!(stream.response().1 == answer(&path), "{path}");
                    done.fetch_add(1, Ordering::SeqCst);
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    // More would take the checker long.
                    std::thread::park_timeout(PAUSE);
                }
            })
        });
        let clients = clients.collect();
        Load { done, stop, clients }
    }

    /// Waits until so many more requests were answered.
    fn wait_for(&self, more: u64) {
        let until = self.done.load(Ordering::SeqCst) + more;
        self.wait_until(|| self.done.load(Ordering::SeqCst) >= until);
    }

    fn wait_until(&self, what: impl Fn() -> bool) {
        let end = Instant::now() + DEADLINE;
        while !what() {
            assert!(Instant::now() < end, "too late, after {:?} requests", self.done);
            std::thread::park_timeout(PAUSE);
        }
    }

    /// How many requests were answered in all.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        self.done.load(Ordering::SeqCst)
    }
}

/// A WebSocket to the origin.
struct Socket(Client);

impl Socket {
    fn open(tap: &Flowtap, origin: &Origin) -> Self {
        let (mut client, to) = (Client::connect(tap.addr), origin.addr);
        client.send(format!(
            "GET http://{to}/socket HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        Socket(client)
    }

    /// Sends a short text, with a mask that is zero, and takes the answer.
    fn say(&mut self, text: &str) {
        self.0.send([&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat());
        assert_eq!(self.0.take(YES.len()), YES);
    }
}

/// All parts of a capture; each must keep to the format.
fn parts(output: &Path) -> Vec<Bundle> {
    let paths = (1..).map(|part| part_path(output, part));
    paths.take_while(|path| path.exists()).map(|path| Bundle::read(&path)).collect()
}

/// Counts the traces, each of which must be whole.
fn whole_traces(parts: &[Bundle]) -> u64 {
    let (whole, damaged) = traces(parts);
    assert_eq!(damaged, 0);
    whole
}

/// Counts the traces that are whole, and those that say that they are not.
fn traces(parts: &[Bundle]) -> (u64, u64) {
    let (mut whole, mut damaged) = (0, 0);
    for part in parts {
        for trace in part.traces() {
            let url = trace["request"]["url"].as_str().unwrap();
            let path = url.splitn(4, '/').nth(3).unwrap();
            if trace["response"]["body_damaged"] == true {
                damaged += 1;
                continue;
            }
            assert!(part.body(&trace, "response") == answer(&format!("/{path}")), "{trace}");
            assert!(trace["error"].is_null(), "{trace}");
            whole += 1;
        }
    }
    (whole, damaged)
}

/// The number in front of these words, which are those for many, on a line of its own; 0 without
/// one.
fn told(stderr: &str, words: &str) -> u64 {
    let of_one = words.replace("s were ", " was ");
    let mut lines = stderr.lines();
    let line = lines.find_map(|it| it.strip_suffix(words).or_else(|| it.strip_suffix(&of_one)));
    line.map_or(0, |number| number.trim().parse().unwrap())
}

fn warnings(ended: &Ended) -> usize {
    ended.stderr.matches("the capture is suspended").count()
}

/// The text of all messages of a connection.
fn texts(bundle: &Bundle, id: &str) -> Vec<String> {
    let messages = bundle.messages(id).into_iter();
    messages.map(|(_, _, text)| String::from_utf8(text).unwrap()).collect()
}

fn limit_files(tap: &Flowtap, bytes: Option<u64>) {
    prlimit(Some(tap.pid()), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// Interrupts it and waits for its end; its folder stays.
fn interrupt(tap: &mut Flowtap) -> Ended {
    tap.signal(Signal::INT);
    tap.keep_until_its_end()
}

fn journal(output: &Path) -> PathBuf {
    with_suffix(output, ".journal")
}

#[test]
fn a_full_disk_suspends_the_capture_until_there_is_room() {
    let origin = Origin::start(|_, stream| serve(stream));
    let mut tap = Setup::with_mcp().start();
    let output = tap.folder().join("capture.zip");
    let load = Load::start(&tap, &origin);
    let mut spanning = Socket::open(&tap, &origin);
    spanning.say("before");
    let mut agent = Agent::of(&tap);
    load.wait_for(100);

    limit_files(&tap, Some(0));
    let warning = tap.err_line("WARNING: ");
    assert!(warning.contains("the capture is suspended; traffic goes on"), "{warning}");
    load.wait_for(100);
    spanning.say("meanwhile");
    let mut between = Socket::open(&tap, &origin);
    load.wait_for(100);
    let status = agent.call("get_status", json!({}));
    assert_eq!(status["capture_suspended"], true, "{status}");
    assert!(status["flows_lost"].as_u64().unwrap() > 0, "{status}");

    limit_files(&tap, None);
    let resumed = tap.err_line("the capture goes on; ");
    let is_told = resumed.ends_with(" flows were lost") || resumed.ends_with("; 1 flow was lost");
    assert!(is_told && !resumed.contains(" 0 "), "{resumed}");
    let status = agent.call("get_status", json!({}));
    assert_eq!(status["capture_suspended"], false, "{status}");
    spanning.say("after");
    between.say("hello");
    load.wait_for(100);
    let asked = load.end();

    let ended = interrupt(&mut tap);
    let parts = parts(&output);
    let lost = told(&ended.stderr, " flows were LOST");
    assert!(lost > 0 && !ended.status.success(), "{}", ended.stderr);
    assert_eq!(whole_traces(&parts) + lost, asked, "{}", ended.stderr);
    assert_eq!(told(&ended.stderr, " WebSocket messages were LOST"), 2, "{}", ended.stderr);
    assert_eq!(warnings(&ended), 1, "{}", ended.stderr);
    let last = parts.last().unwrap();
    // They stand in the order in which they ended.
    let mut ids = ["ws_0001", "ws_0002"];
    ids.sort_by_key(|id| texts(last, id));
    assert_eq!(texts(last, ids[0]), ["before", "yes", "after", "yes"]);
    assert_eq!(texts(last, ids[1]), ["hello", "yes"]);
    let error = last.json(&format!("ws/{}.json", ids[0]))["error"].to_string();
    assert!(error.contains("2 messages are missing"), "{error}");
    assert!(!journal(&output).exists());
}

#[test]
fn a_capture_that_ends_without_room_keeps_what_it_has() {
    let origin = Origin::start(|_, stream| serve(stream));
    let mut tap = Flowtap::start(&[]);
    let output = tap.folder().join("capture.zip");
    let load = Load::start(&tap, &origin);
    let segment = journal(&output).join("segment-0001.flj");
    load.wait_until(|| std::fs::read(&segment).unwrap().windows(4).any(|part| part == b"GET "));
    limit_files(&tap, Some(0));
    tap.err_line("WARNING: ");
    load.wait_for(100);
    let asked = load.end();
    let ended = interrupt(&mut tap);
    let lost = told(&ended.stderr, " flows were LOST");
    assert!(!ended.status.success() && ended.stderr.contains("is kept in"), "{}", ended.stderr);
    let mut kept = 0;
    for entry in std::fs::read_dir(journal(&output)).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().ends_with(".flj") {
            let segment = std::fs::read(entry.path()).unwrap();
            kept += segment.windows(4).filter(|window| window == b"GET ").count() as u64;
        }
    }
    assert!(kept > 0 && lost > 0, "{}", ended.stderr);
    assert_eq!(whole_traces(&parts(&output)) + lost + kept, asked, "{}", ended.stderr);
}

#[test]
fn a_journal_that_is_removed_is_made_again() {
    goes_on_without("capture.zip.journal");
}

#[test]
fn a_journal_that_is_removed_just_before_the_end_of_an_empty_capture_is_made_again() {
    let mut tap = Setup::proxy().start();
    let output = tap.folder().join("capture.zip");
    std::fs::remove_dir_all(journal(&output)).unwrap();
    let ended = interrupt(&mut tap);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(Bundle::read(&output).traces().len(), 0);
    assert!(!journal(&output).exists());
}

#[test]
fn an_output_folder_that_is_removed_is_made_again() {
    goes_on_without("");
}

/// Removes a folder of a capture, below that of its output or this itself.
fn goes_on_without(removed: &str) {
    let origin = Origin::start(|_, stream| serve(stream));
    let mut tap = Flowtap::start(&[]);
    let output = tap.folder().join("capture.zip");
    let load = Load::start(&tap, &origin);
    let mut spanning = Socket::open(&tap, &origin);
    spanning.say("before");
    let socket_file = |entry: std::io::Result<DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".ws"))
    };
    load.wait_until(|| std::fs::read_dir(journal(&output)).unwrap().any(socket_file));
    // What is renamed is gone at once.
    let away = tempfile::tempdir().unwrap();
    let folder = output.with_file_name(removed);
    let folder = if removed.is_empty() { tap.folder() } else { &folder };
    std::fs::rename(folder, away.path().join("gone")).unwrap();

    let warning = tap.err_line("WARNING: ");
    assert!(warning.contains("removed") && warning.contains("suspended"), "{warning}");
    tap.err_line("the capture goes on; ");
    let other = JournalFolder::create(&output).unwrap_err().to_string();
    assert_eq!(other, "another flowtap is writing capture.zip");
    let mut between = Socket::open(&tap, &origin);
    between.say("hello");
    load.wait_for(100);
    let asked = load.end();

    let ended = interrupt(&mut tap);
    let parts = parts(&output);
    let lost = told(&ended.stderr, " flows were LOST");
    assert!(lost > 1 && !ended.status.success(), "{}", ended.stderr);
    // The first connection is lost, the second is not. Flows whose body had gone ahead, and which
    // were in memory themselves, are there without it.
    let (whole, damaged) = traces(&parts);
    assert_eq!(whole + damaged + lost, asked + 1, "{}", ended.stderr);
    let in_part = " could be read back in part only";
    assert_eq!(damaged > 0, ended.stderr.contains(in_part), "{}", ended.stderr);
    assert_eq!(texts(parts.last().unwrap(), "ws_0001"), ["hello", "yes"]);
    assert_eq!(warnings(&ended), 1, "{}", ended.stderr);
    assert_eq!(journal(&output).exists(), damaged > 0);
}

/// The path of a large response.
const FIRST: &str = "/first/8";

/// A disk that takes nothing of one body until it is told to: a pipe in the place of its file.
struct SlowDisk {
    file: PathBuf,
    go: Sender<()>,
    taken: JoinHandle<()>,
}

impl SlowDisk {
    /// The first flow's response is a large one.
    fn under(output: &Path) -> Self {
        let file = journal(output).join("flow-1-response.body");
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        let (go, told) = channel();
        let (pipe, copy) = (file.clone(), output.with_file_name("copy"));
        let body = answer(FIRST);
        let ahead = body.len() / BODY_BLOCK_BYTES * BODY_BLOCK_BYTES;
        let taken = std::thread::spawn(move || {
            if told.recv().is_ok() {
                // The recorder comes out of opening it, and has more to write than a pipe holds.
                let mut source = File::open(&pipe).unwrap();
                std::fs::write(&copy, &body[..ahead]).unwrap();
                std::fs::rename(&copy, &pipe).unwrap();
                let mut written = Vec::new();
                source.read_to_end(&mut written).unwrap();
                assert!(written == body[..ahead]);
            }
        });
        SlowDisk { file, go, taken }
    }

    fn take_all(self) {
        self.go.send(()).unwrap();
        self.taken.join().unwrap();
        assert!(self.file.metadata().unwrap().is_file());
    }
}

#[test]
fn a_disk_that_blocks_slows_traffic_down_and_loses_nothing() {
    let origin = Origin::start(|_, stream| serve(stream));
    let mut tap = Flowtap::start(&[]);
    let output = tap.folder().join("capture.zip");
    let disk = SlowDisk::under(&output);
    let mut first = Client::connect(tap.addr);
    first.send(get(origin.addr, FIRST));
    assert!(first.response().1 == answer(FIRST));
    let load = Load::start(&tap, &origin);
    let warning = tap.err_line("warning: the disk ");
    assert!(warning.contains("traffic waits"), "{warning}");
    disk.take_all();
    load.wait_for(100);
    let asked = load.end();
    let ended = interrupt(&mut tap);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(whole_traces(&parts(&output)), asked + 1, "{}", ended.stderr);
}

#[test]
fn stopping_waits_for_a_disk_that_blocks_and_says_so() {
    let origin = Origin::start(|_, stream| serve(stream));
    let mut tap = Flowtap::start(&[]);
    let output = tap.folder().join("capture.zip");
    let disk = SlowDisk::under(&output);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, FIRST));
    assert!(client.response().1 == answer(FIRST));
    tap.signal(Signal::INT);
    let warning = tap.err_line("warning: the disk ");
    assert!(warning.contains("so does stopping"), "{warning}");
    disk.take_all();
    let ended = tap.keep_until_its_end();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(whole_traces(&parts(&output)), 1);
}
