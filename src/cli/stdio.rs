//! A thread that serves standard input and output, and its end, which comes in time even when
//! nobody reads there.

use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};

use crate::error::{Error, Result};
use crate::limits::STOP_GRACE;

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
    pub(super) fn attend(self, signals: &Receiver<()>) -> Result<()> {
        select! {
            recv(self.ended) -> result => result.unwrap_or_else(|_| Err(defect())),
            recv(signals) -> _ => self.stop(),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// Those of `serve`.
    pub(super) fn stop(self) -> Result<()> {
        // One that has ended needs not be told.
        let _ = self.stop.try_send(());
        // What is under way has its time, and what is then said as much again.
        match self.ended.recv_timeout(2 * STOP_GRACE) {
            Ok(result) => result,
            // It waits for somebody to read, and ends with the program.
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(defect()),
        }
    }
}

fn defect() -> Error {
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
        ended.unwrap().attend(&crossbeam_channel::never()).unwrap();
        let defect = Stdio::start(|_| panic!("a defect")).unwrap().stop().unwrap_err();
        assert!(defect.to_string().contains("defect"), "{defect}");
    }
}
