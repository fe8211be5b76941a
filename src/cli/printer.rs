//! What is printed while traffic runs, on a thread of its own: a terminal or a pipe that takes
//! nothing, as after Ctrl+S, holds up neither the traffic nor its end.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use crate::cli::results;
use crate::error::{Error, Result};
use crate::fault;
use crate::limits::{PRINTED_BYTES, STOP_WORDS};

/// Text for one of the two streams.
#[derive(Debug)]
enum Text {
    Error(String),
    Result(String),
}

/// The end to give text to.
#[derive(Debug)]
pub(super) struct Printer {
    texts: Sender<Text>,
    waiting: Arc<AtomicUsize>,
    /// Told when all is printed and no more can come: what kept a result from being printed first.
    done: Receiver<io::Result<()>>,
    /// Disconnected when nobody reads standard output any more.
    unread: Receiver<()>,
}

impl Printer {
    /// Prints to this process's standard error and standard output.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start() -> Result<Printer> {
        Self::start_with(io::stderr(), io::stdout())
    }

    fn start_with(
        errors: impl Write + Send + 'static,
        results: impl Write + Send + 'static,
    ) -> Result<Printer> {
        // Bounded by what waits in it.
        let (texts, taken) = unbounded();
        let (printed, done) = bounded(1);
        let (reading, unread) = bounded(0);
        let waiting = Arc::<AtomicUsize>::default();
        let rest = waiting.clone();
        let thread = thread::Builder::new().name("printer".to_owned());
        let run = move || {
            // Whoever does not wait for the end has no use for it.
            let _ = printed.send(print_all(&taken, &rest, errors, results, reading));
        };
        thread
            .spawn(run)
            .map_err(|error| Error::new(format!("cannot start the printer's thread: {error}")))?;
        Ok(Printer { texts, waiting, done, unread })
    }

    /// Has text printed to standard error; false when too much waits, and this is left out.
    pub(super) fn error(&self, text: String) -> bool {
        self.put(text.len(), Text::Error(text))
    }

    /// Has text printed to standard output; false when too much waits, and this is left out.
    pub(super) fn result(&self, text: String) -> bool {
        self.put(text.len(), Text::Result(text))
    }

    fn put(&self, bytes: usize, text: Text) -> bool {
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(bytes) > PRINTED_BYTES {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.texts.send(text).is_ok()
    }

    /// Whether text waits to be printed.
    pub(super) fn is_behind(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Told, by its end, that nobody reads standard output any more.
    pub(super) fn unread(&self) -> &Receiver<()> {
        &self.unread
    }

    /// Ends it when all is printed, or when nobody takes it within [`STOP_WORDS`].
    pub(super) fn finish(self) {
        drop(self.texts);
        let _ = self.done.recv_timeout(STOP_WORDS);
    }

    /// Prints one more result, the last: it has the time that its reader needs, but at least
    /// [`STOP_WORDS`], until `signals` tell of impatience.
    ///
    /// # Errors
    /// When it, or a result before it, could not be printed to somebody who still reads.
    pub(super) fn finish_with<T>(self, text: String, signals: &Receiver<T>) -> Result<()> {
        // However much waits, this is what was asked for.
        self.waiting.fetch_add(text.len(), Ordering::Relaxed);
        let _ = self.texts.send(Text::Result(text));
        drop(self.texts);
        // Signals that came before it are about what it sums up.
        signals.try_iter().for_each(drop);
        let printed = match self.done.recv_timeout(STOP_WORDS) {
            Err(RecvTimeoutError::Timeout) => crossbeam_channel::select! {
                recv(self.done) -> printed => printed.ok(),
                recv(signals) -> _ => None,
            },
            printed => printed.ok(),
        };
        results::judge(printed.unwrap_or(Ok(())))
    }
}

fn print_all(
    texts: &Receiver<Text>,
    waiting: &AtomicUsize,
    mut errors: impl Write,
    mut results: impl Write,
    reading: Sender<()>,
) -> io::Result<()> {
    fault::watch_thread();
    let mut reading = Some(reading);
    let mut outcome = Ok(());
    for text in texts {
        let bytes = match &text {
            // There is nobody else to tell when standard error is closed.
            Text::Error(text) => {
                let _ = fault::catch(|| errors.write_all(text.as_bytes()));
                text.len()
            }
            Text::Result(text) => {
                let printed = fault::catch(|| {
                    results.write_all(text.as_bytes()).and_then(|()| results.flush())
                });
                let printed = printed.unwrap_or_else(|fault| Err(io::Error::other(fault.reason())));
                if printed.is_err() {
                    reading = None;
                }
                outcome = outcome.and(printed);
                text.len()
            }
        };
        waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
    drop(reading);
    outcome
}

/// Prints the last words of the program, unless nobody takes them within [`STOP_WORDS`].
pub fn last_words(text: String) {
    let (printing, done) = bounded::<()>(0);
    let print = move || {
        // Where standard error is closed the exit status alone has to tell.
        let _ = io::stderr().write_all(text.as_bytes());
        drop(printing);
    };
    if thread::Builder::new().spawn(print).is_ok() {
        let _ = done.recv_timeout(STOP_WORDS + Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;

    /// Takes text, once it is allowed to.
    struct Slow {
        allowed: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.allowed.recv();
            self.taken.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Slow, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (allow, allowed) = bounded(0);
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        (Slow { allowed, taken: taken.clone() }, allow, taken)
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_waited_for_a_moment_only() {
        let (errors, allow, _) = slow();
        let printer = Printer::start_with(errors, io::sink()).unwrap();
        let line = "x".repeat(1_000);
        let put = (0..3 * PRINTED_BYTES / 1_000).filter(|_| printer.error(line.clone())).count();
        assert!(put * 1_000 <= PRINTED_BYTES + 1_000 && printer.is_behind(), "{put}");
        let began = Instant::now();
        printer.finish();
        assert!(began.elapsed() < 4 * STOP_WORDS);
        drop(allow);
    }

    #[test]
    fn all_is_printed_in_order_before_the_end() {
        let (errors, allow, taken) = slow();
        let printer = Printer::start_with(errors, io::sink()).unwrap();
        assert!(printer.error("a".to_owned()) && printer.error("b".to_owned()));
        drop(allow);
        printer.finish();
        assert_eq!(*taken.lock().unwrap(), b"ab");
    }

    #[test]
    fn the_last_result_waits_for_its_reader_until_it_is_told_not_to() {
        for is_impatient in [false, true] {
            let (signal, signals) = bounded(1);
            let (results, allow, taken) = slow();
            let printer = Printer::start_with(io::sink(), results).unwrap();
            signal.send("before the end").unwrap();
            let ending =
                thread::spawn(move || printer.finish_with("all".to_owned(), &signals).unwrap());
            while is_impatient && !ending.is_finished() {
                let _ = signal.try_send("now");
                thread::yield_now();
            }
            assert!(taken.lock().unwrap().is_empty());
            drop(allow);
            ending.join().unwrap();
            assert!(is_impatient || *taken.lock().unwrap() == b"all");
        }
    }

    #[test]
    fn a_result_that_nobody_reads_is_told_and_one_that_is_lost_is_a_failure() {
        struct Refusing(io::ErrorKind);
        impl Write for Refusing {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull] {
            let printer = Printer::start_with(Refusing(kind), Refusing(kind)).unwrap();
            assert!(printer.error("nobody reads this".to_owned()));
            assert!(printer.result("nor this".to_owned()));
            assert!(printer.unread().recv_timeout(Duration::from_secs(20)).is_err());
            assert!(printer.error("it goes on".to_owned()));
            let ended =
                printer.finish_with("the last".to_owned(), &crossbeam_channel::never::<()>());
            assert_eq!(ended.is_err(), kind != io::ErrorKind::BrokenPipe, "{ended:?}");
        }
    }
}
