//! What is typed, in which situation, and what must come of it.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;

use crate::blocks::{self, Block, Mark};
use crate::network::alone;
use crate::origin::{self, TEXT};
use crate::place::{Ended, Place, Running};
use crate::program;
use crate::tls::test_ca;

/// The host in the documents.
const HOST: &str = "example.com";

/// The names that marks may have.
const STORIES: [&str; 8] =
    ["start", "request", "inspect", "recover", "check", "rules", "export", "discover"];

struct Reader {
    place: Place,
    /// The blocks that other stories begin with.
    start: String,
    request: String,
}

#[test]
fn each_block_does_what_the_documents_say() {
    let blocks = blocks::all();
    let name_of = |block: &Block| match &block.mark {
        Mark::Try(name) => Some(name.clone()),
        _ => None,
    };
    let named: BTreeSet<String> = blocks.iter().filter_map(name_of).collect();
    let known: BTreeSet<String> = STORIES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(named, known, "the marks in the documents, and what story.rs can tell");
    let program = program::build();
    alone("story::each_block_does_what_the_documents_say", || {
        origin::serve(HOST);
        let text_of = |name: &str| {
            let block = blocks.iter().find(|block| name_of(block).as_deref() == Some(name));
            block.unwrap().text.clone()
        };
        let place = Place::new(program);
        place.write("etc/hosts", &format!("127.0.0.1 {HOST}\n"));
        let roots = fs::read_to_string(test_ca().file()).unwrap();
        place.write("etc/ssl/certs/ca-certificates.crt", &roots);
        // Where nothing is installed, the built program is there already.
        let start = text_of("start").replace("cargo run --release -- ", "flowtap ");
        assert!(start.starts_with("flowtap "), "{start}");
        let reader = Reader { place, start, request: text_of("request") };
        for block in &blocks {
            if let Some(name) = name_of(block) {
                println!("{}: {name}", block.place);
                reader.follow(&name, &block.text);
            }
        }
    });
}

impl Reader {
    fn follow(&self, name: &str, text: &str) {
        match name {
            "start" | "request" => self.capture(),
            "inspect" => {
                self.capture();
                let Ended { code, stdout, stderr } = self.place.run(text);
                assert_eq!(code, Some(0), "{stderr}");
                assert!(stdout.matches("https://example.com/").count() >= 2, "{stdout}");
                assert!(stdout.contains("t_0001") && stdout.contains(TEXT.trim()), "{stdout}");
            }
            "check" => {
                self.capture();
                let Ended { code, stdout, .. } = self.place.run(text);
                assert_eq!(code, Some(3), "{stdout}");
                assert!(stdout.contains("::error"), "{stdout}");
                assert!(stdout.contains("https://example.com/"), "{stdout}");
            }
            "rules" => {
                self.capture();
                let Ended { code, stdout, .. } = self.place.run(text);
                assert_eq!(code, Some(3), "{stdout}");
                // The request went to another host than the rule allows, and did not log in.
                let line = |words: &str| stdout.lines().find(|line| line.contains(words)).unwrap();
                assert!(line("--fail-on '!~d").starts_with("FAIL"), "{stdout}");
                assert!(line("--require").starts_with("FAIL"), "{stdout}");
                assert_eq!(stdout.matches("\nok ").count(), 2, "{stdout}");
            }
            "export" => {
                self.capture();
                let Ended { code, stdout, stderr } = self.place.run(text);
                assert_eq!(code, Some(0), "{stderr}");
                let har = fs::read_to_string(self.place.work("capture.har")).unwrap();
                assert!(har.contains("https://example.com/"), "{har}");
                assert!(stdout.contains("\"entries\""), "{stdout}");
            }
            "recover" => self.recover(text),
            "discover" => {
                let mut running = self.place.start(text);
                running.line("proxy  http://127.0.0.1:8080");
                // Nothing is intercepted: what the client sees is the server's own certificate.
                let trusted = format!("--cacert {}", test_ca().file().display());
                let request = self.request.replace("--cacert", "--silent --cacert");
                let own = "~/.flowtap/flowtap-ca-cert.pem";
                assert!(request.contains(own), "{request}");
                let request = request.replace(&format!("--cacert {own}"), &trusted);
                assert_eq!(self.place.run(&request).stdout, TEXT, "{request}");
                running.output_line(HOST);
                let Ended { stdout, stderr, .. } = running.interrupt();
                assert!(stdout.contains("1  example.com"), "{stdout} {stderr}");
                assert!(stdout.contains("flowtap proxy -d 'example.com'"), "{stdout}");
            }
            other => panic!("there is no story {other}"),
        }
    }

    /// The first result: start, a request, Ctrl+C.
    fn capture(&self) {
        let _ = fs::remove_file(self.place.work("capture.zip"));
        let running = self.request_through_the_proxy();
        let Ended { stdout, stderr, .. } = running.interrupt();
        assert!(stderr.contains("1 trace, ") && stderr.contains("capture.zip"), "{stderr}");
        assert_eq!(stdout, "");
        let bundle = fs::read(self.place.work("capture.zip")).unwrap();
        assert!(bundle.starts_with(b"PK"));
    }

    fn request_through_the_proxy(&self) -> Running {
        let mut running = self.place.start(&self.start);
        running.line("proxy  http://127.0.0.1:8080");
        running.line("output ");
        let Ended { code, stdout, stderr } = self.place.run(&self.request);
        assert_eq!((code, stdout.as_str()), (Some(0), TEXT), "{stderr}");
        running
    }

    fn recover(&self, text: &str) {
        let _ = fs::remove_file(self.place.work("capture.zip"));
        let running = self.request_through_the_proxy();
        let journal = self.place.work("capture.zip.journal");
        // What was recorded is on disk within a second; the flow is then in a segment.
        let holds_flow = || {
            let files = fs::read_dir(&journal).into_iter().flatten().flatten();
            files
                .map(|file| fs::read(file.path()).unwrap_or_default())
                .any(|bytes| bytes.windows(TEXT.len()).any(|part| part == TEXT.as_bytes()))
        };
        let end = std::time::Instant::now() + crate::network::DEADLINE;
        while !holds_flow() {
            assert!(std::time::Instant::now() < end, "the flow is not in {}", journal.display());
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        running.signal(Signal::KILL);
        assert_eq!(running.wait().code, None);
        assert!(!self.place.work("capture.zip").exists());
        let Ended { code, stdout, stderr } = self.place.run(text);
        assert_eq!(code, Some(0), "{stderr}");
        assert!((stdout.clone() + &stderr).contains("capture.zip"), "{stdout} {stderr}");
        assert!(fs::read(self.place.work("capture.zip")).unwrap().starts_with(b"PK"));
        assert!(!journal.exists(), "{stderr}");
    }
}
