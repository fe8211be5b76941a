//! What was asked, what came of it, and what the bundle has to hold of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

/// What went wrong is told of so many times; more is counted.
const FAILURES: usize = 40;

/// How many traces or WebSocket connections the bundle has of one id.
#[derive(Clone, Copy, Default)]
pub(crate) struct Range {
    pub(crate) least: u16,
    pub(crate) most: u16,
}

/// What all threads write down.
#[derive(Default)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// Traces by id.
    traces: Vec<Range>,
    /// Messages of the WebSocket connections that ended as they should, by id.
    sockets: HashMap<u64, u64>,
    /// WebSocket connections that were begun.
    sockets_begun: u64,
    nameless: u64,
    /// How often each kind of traffic was done.
    kinds: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
    failed: u64,
}

/// What the bundle is compared with.
pub(crate) struct Expected {
    pub(crate) traces: Vec<Range>,
    pub(crate) sockets: HashMap<u64, u64>,
    pub(crate) sockets_begun: u64,
    /// Requests of which it may be that nothing could be read.
    pub(crate) nameless: u64,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no thread panics with it")
    }

    /// The id of a request that is made now, and may become a trace.
    pub(crate) fn begin(&self) -> u64 {
        let mut book = self.book();
        book.traces.push(Range { least: 0, most: 1 });
        book.traces.len() as u64 - 1
    }

    /// The request was answered, or failed in a way that must be on record.
    pub(crate) fn must(&self, id: u64) {
        self.book().traces[id as usize].least += 1;
    }

    /// The request is made once more.
    pub(crate) fn again(&self, id: u64) -> bool {
        match self.book().traces.get_mut(id as usize) {
            Some(range) => range.most += 1,
            None => return false,
        }
        true
    }

    /// The same where the request may be so bad, or so short, that its trace has no URL.
    pub(crate) fn begin_bad(&self) -> u64 {
        self.book().nameless += 1;
        self.begin()
    }

    /// The id of a WebSocket, whose handshake is no trace.
    pub(crate) fn begin_socket(&self) -> u64 {
        let mut book = self.book();
        book.sockets_begun += 1;
        book.traces.push(Range::default());
        book.traces.len() as u64 - 1
    }

    /// The WebSocket ended as it should, after so many messages of both directions.
    pub(crate) fn end_socket(&self, id: u64, messages: u64) {
        self.book().sockets.insert(id, messages);
    }

    /// Counts what was done, and keeps what went wrong.
    pub(crate) fn done(&self, kind: &'static str, outcome: Result<(), String>) {
        let mut book = self.book();
        *book.kinds.entry(kind).or_default() += 1;
        if let Err(why) = outcome {
            book.failed += 1;
            if book.failures.len() < FAILURES {
                eprintln!("failed: {kind}: {why}");
                book.failures.push(format!("{kind}: {why}"));
            }
        }
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.book().traces.len() as u64
    }

    /// How often each kind of traffic was done.
    pub(crate) fn kinds(&self) -> BTreeMap<&'static str, u64> {
        self.book().kinds.clone()
    }

    /// What went wrong, the first of it in words, and how often.
    pub(crate) fn failures(&self) -> (Vec<String>, u64) {
        let book = self.book();
        (book.failures.clone(), book.failed)
    }

    /// What the bundle has to hold.
    pub(crate) fn expected(&self) -> Expected {
        let book = self.book();
        Expected {
            traces: book.traces.clone(),
            sockets: book.sockets.clone(),
            sockets_begun: book.sockets_begun,
            nameless: book.nameless,
        }
    }
}
