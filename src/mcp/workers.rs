//! The threads that run calls: as many as are needed, up to a bound.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::fault;
use crate::limits::{MCP_CALL_EVENTS, MCP_THREAD_IDLE, MCP_THREADS, MCP_WAITING_CALLS};
use crate::mcp::dispatch::{Dispatcher, Job};
use crate::mcp::rpc::{INTERNAL_ERROR, RpcError};
use crate::mcp::toolbox::Cancellation;
use crate::mcp::version::Version;

/// A call for a thread.
#[derive(Debug)]
pub(super) struct Work {
    /// Names the call.
    pub(super) key: u64,
    /// What to do.
    pub(super) job: Job,
    /// For whom.
    pub(super) version: Version,
    /// Bytes that the result may take.
    pub(super) limit: usize,
    /// Set when nobody waits for it any more.
    pub(super) cancellation: Cancellation,
    /// Whether its progress is of use to anybody.
    pub(super) tells_progress: bool,
}

/// What a thread tells of a call.
#[derive(Debug)]
pub(super) enum CallEvent {
    /// How far it has come.
    Progress {
        /// Names the call.
        key: u64,
        /// How much is done.
        done: f64,
        /// Of how much.
        total: Option<f64>,
        /// In words.
        message: String,
    },
    /// It has ended.
    Done {
        /// Names the call.
        key: u64,
        /// Its result, as JSON.
        result: Result<String, RpcError>,
    },
}

/// Called after each event, to wake whoever takes them.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// The threads.
pub(super) struct Workers {
    shared: Arc<Shared>,
    queue: Sender<Work>,
}

struct Shared {
    dispatcher: Dispatcher,
    queue: Receiver<Work>,
    events: Sender<CallEvent>,
    wake: Wake,
    /// Also held while a call is queued, so that no thread ends just then.
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    threads: usize,
    idle: usize,
    /// Calls for which no thread has ceased to be idle: one that has taken its call is idle until
    /// it says otherwise, and must not be counted on.
    queued: usize,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("counts", &*self.shared.counts()).finish_non_exhaustive()
    }
}

impl Workers {
    /// No threads yet, and where they will tell of calls.
    pub(super) fn new(dispatcher: Dispatcher, wake: Wake) -> (Workers, Receiver<CallEvent>) {
        let (queue, queued) = bounded(MCP_WAITING_CALLS);
        let (events, taken) = bounded(MCP_CALL_EVENTS);
        let counts = Mutex::default();
        let shared = Shared { dispatcher, queue: queued, events, wake, counts };
        (Workers { shared: Arc::new(shared), queue }, taken)
    }

    /// Has a thread take the call, one more if none is idle. Gives it back when too many wait.
    pub(super) fn submit(&self, work: Work) -> Result<(), Work> {
        let mut counts = self.shared.counts();
        if counts.idle <= counts.queued && counts.threads < MCP_THREADS {
            let shared = self.shared.clone();
            let thread = thread::Builder::new().name("mcp-call".to_owned());
            match thread.spawn(move || shared.serve()) {
                Ok(_) => counts.threads += 1,
                Err(_) if counts.threads == 0 => return Err(work),
                // Those that there are take it in their time.
                Err(_) => {}
            }
        }
        self.queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(work) | TrySendError::Disconnected(work) => work,
        })?;
        counts.queued += 1;
        Ok(())
    }
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        fault::watch_thread();
        while let Some(work) = self.next() {
            self.run(&work);
        }
    }

    /// The next call; `None` when the thread is to end.
    fn next(&self) -> Option<Work> {
        self.counts().idle += 1;
        let taken = self.queue.recv_timeout(MCP_THREAD_IDLE);
        let mut counts = self.counts();
        counts.idle -= 1;
        let taken = match taken {
            // Something may have been queued for this thread just now.
            Err(RecvTimeoutError::Timeout) => self.queue.try_recv().ok(),
            other => other.ok(),
        };
        match taken {
            Some(_) => counts.queued -= 1,
            None => counts.threads -= 1,
        }
        taken
    }

    fn run(&self, work: &Work) {
        let key = work.key;
        let progress = |done: f64, total: Option<f64>, message: &str| {
            if work.tells_progress && !work.cancellation.is_cancelled() {
                let message = message.to_owned();
                // Where too much waits, the next one tells more anyway.
                let _ = self.events.try_send(CallEvent::Progress { key, done, total, message });
                (self.wake)();
            }
        };
        let Work { job, version, limit, cancellation, .. } = work;
        let result = if cancellation.is_cancelled() {
            Err(RpcError::new(INTERNAL_ERROR, "cancelled"))
        } else {
            let work = || self.dispatcher.work(job, *version, *limit, cancellation, &progress);
            fault::catch(work).unwrap_or_else(|fault| {
                let what = match job {
                    Job::Tool { name, .. } => format!("a call of {name}"),
                    Job::Resource { uri } => format!("reading {uri}"),
                };
                // Its words may quote traffic; they are for the user's own terminal.
                self.dispatcher.tell_fault(&what, fault);
                let reason = "the call ended by a fault in flowtap, whose terminal says more";
                Err(RpcError::new(INTERNAL_ERROR, reason))
            })
        };
        // Whoever would take it may have ended.
        let _ = self.events.send(CallEvent::Done { key, result });
        (self.wake)();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Map;

    use super::*;
    use crate::mcp::toolbox::{Call, Resource, ToolDescription, ToolResult, Toolbox};

    struct Tools;

    impl Toolbox for Tools {
        fn tools(&self) -> &[ToolDescription] {
            &[]
        }

        fn instructions(&self) -> &str {
            ""
        }

        fn call(&self, _: &str, _: &Call<'_>) -> Option<ToolResult> {
            Some(ToolResult { content: Map::new(), is_error: false, links: Vec::new() })
        }

        fn read_resource(&self, uri: &str) -> Result<Resource, String> {
            Err(uri.to_owned())
        }
    }

    #[test]
    fn a_thread_that_has_just_taken_a_call_is_not_idle() {
        let dispatcher = Dispatcher::new(Arc::new(Tools));
        let (workers, events) = Workers::new(dispatcher, Arc::new(|| {}));
        let work = |key: u64| Work {
            key,
            job: Job::Tool { name: "quick".to_owned(), arguments: Some(Map::new()) },
            version: Version::NEWEST_WITH_SESSIONS,
            limit: 1_000,
            cancellation: Cancellation::default(),
            tells_progress: false,
        };
        // A thread that is between taking a call and saying so; the call may last for long.
        *workers.shared.counts() = Counts { threads: 1, idle: 1, queued: 0 };
        workers.submit(work(1)).unwrap();
        assert_eq!(workers.shared.queue.recv().unwrap().key, 1);
        workers.submit(work(2)).unwrap();
        let event = events.recv_timeout(Duration::from_secs(20));
        assert!(matches!(event, Ok(CallEvent::Done { key: 2, .. })), "{event:?}");
    }
}
