//! Faults of flowtap itself: panics, as values that say what happened and where.
//!
//! What panics is ended, and nothing beside it: one connection, one call, one part of the bundle.
//! Where that cannot be, the whole process ends in order.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    words: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// Why something ended by this fault, as the reason that is recorded and shown.
    pub fn reason(&self) -> String {
        format!("ended by a fault in flowtap: {self}")
    }
}

thread_local! {
    /// Whether somebody tells what this thread's panics say.
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    /// The last panic of this thread, with its place, which only the hook is told.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the words of panics in watched threads for whoever catches them, so that they reach the
/// user as all other words do. In all other threads panics are printed as before.
pub fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IS_WATCHED.get() {
                LAST.set(Some(words_with_place(info)));
            } else {
                before(info);
            }
        }));
    });
}

fn words_with_place(info: &PanicHookInfo<'_>) -> String {
    let words = words_of(info.payload());
    match info.location() {
        Some(place) => format!("{words} ({}:{})", place.file(), place.line()),
        None => words.to_owned(),
    }
}

fn words_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

/// Tells that whatever panics in this thread is caught by [`catch`], and its words shown.
pub fn watch_thread() {
    IS_WATCHED.set(true);
}

/// Does some work, and catches its panic. It costs nothing while there is none.
///
/// # Errors
/// The panic. What the work has changed may be half done: the caller throws it away, or restores
/// what it shares with others.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Fault> {
    // Every caller deals with what a panic leaves half done, as said above.
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        // Without the hook, as in a library, the place is not known.
        let words = LAST.take().unwrap_or_else(|| words_of(&*payload).to_owned());
        Fault { words }
    })
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_happened_and_where() {
        install_hook();
        let caught = std::thread::spawn(|| {
            watch_thread();
            let caught = catch(|| panic!("it is {}", "broken")).map(|()| 0).unwrap_err();
            (catch(|| 5), caught)
        });
        let (went_well, caught) = caught.join().unwrap();
        assert_eq!(went_well, Ok(5));
        let words = caught.to_string();
        assert!(words.starts_with("it is broken (src/fault.rs:"), "{words}");
        let reason = caught.reason();
        assert!(reason.starts_with("ended by a fault in flowtap: it is broken"), "{reason}");
    }

    #[test]
    fn without_a_watch_the_words_are_there_all_the_same() {
        assert_eq!(catch(|| panic!("plain")).map(|()| 0).unwrap_err().to_string(), "plain");
        let odd = catch(|| panic::panic_any(7)).map(|()| 0).unwrap_err();
        assert_eq!(odd.to_string(), "a panic");
    }
}
