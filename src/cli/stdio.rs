//! A thread that serves standard input and output, and its end, which comes in time even when
//! nobody reads there.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};

use crate::error::{Error, Result};
use crate::limits::{STOP_CALLS, STOP_GRACE};

/// The thread.
#[derive(Debug)]
pub(super) struct Stdio {
    stop: Sender<()>,
    ended: Receiver<Result<()>>,
}

impl Stdio {
    /// Starts to serve. `serve` ends when it is told so, or earlier.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start(
        serve: impl FnOnce(&Receiver<()>) -> Result<()> + Send + 'static,
    ) -> Result<Stdio> {
        let (stop, stops) = bounded(1);
        let (sender, ended) = bounded(1);
        let thread = thread::Builder::new().name("mcp stdio".to_owned());
        let thread = thread.spawn(move || sender.send(serve(&stops)));
        thread.map_err(|error| Error::new(format!("cannot start MCP: {error}")))?;
        Ok(Stdio { stop, ended })
    }

    /// Waits until it has ended, or a signal ends it.
    ///
    /// # Errors
    /// Those of `serve`.
    pub(super) fn attend<T>(self, signals: &Receiver<T>) -> Result<()> {
        select! {
            recv(self.ended) -> result => result.unwrap_or_else(|_| Err(defect())),
            recv(signals) -> _ => {
                self.tell();
                self.end(STOP_GRACE + STOP_CALLS)
            }
        }
    }

    /// Tells it to end when what is under way has ended, which has [`STOP_GRACE`] for that.
    pub(super) fn tell(&self) {
        // One that has ended needs not be told, nor one that was.
        let _ = self.stop.try_send(());
    }

    /// Ends it, when nothing that it serves goes on.
    ///
    /// # Errors
    /// Those of `serve`.
    pub(super) fn stop(self) -> Result<()> {
        self.tell();
        self.end(STOP_CALLS)
    }

    fn end(self, wait: Duration) -> Result<()> {
        match self.ended.recv_timeout(wait) {
            Ok(result) => result,
            // It waits for somebody to read, and ends with the program.
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(defect()),
        }
    }
}

/// Why it has ended when nobody knows.
pub(super) fn defect() -> Error {
    Error::new("MCP on standard input ended by a defect of flowtap")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_end_is_left() {
        let (keep, never) = bounded::<()>(0);
        let stuck = Stdio::start(move |_| {
            let _ = never.recv();
            Ok(())
        });
        stuck.unwrap().stop().unwrap();
        drop(keep);
    }

    #[test]
    fn its_end_and_its_defects_are_told() {
        let told = Stdio::start(|stops| {
            let _ = stops.recv();
            Err(Error::new("was told"))
        });
        let (signal, signals) = bounded(1);
        signal.send(()).unwrap();
        assert_eq!(told.unwrap().attend(&signals).unwrap_err().to_string(), "was told");
        let ended = Stdio::start(|_| Ok(()));
        ended.unwrap().attend(&crossbeam_channel::never::<()>()).unwrap();
        let defect = Stdio::start(|_| panic!("a defect")).unwrap();
        let defect = defect.attend(&crossbeam_channel::never::<()>()).unwrap_err();
        assert!(defect.to_string().contains("defect"), "{defect}");
    }
}
