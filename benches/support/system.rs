//! What the system says about processes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

/// Clock ticks of `/proc` a second: 100 for user space on every Linux.
const TICKS_PER_SECOND: u64 = 100;

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1_000 / TICKS_PER_SECOND)
}

/// User and system time in a `stat` of `/proc`.
fn cpu_in(stat: &str) -> Duration {
    // The command's name, in parentheses, may hold spaces; state is the first field after it.
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    let fields = after_name.split_whitespace().skip(11).take(2);
    ticks(fields.map(|it| it.parse::<u64>().expect("ticks")).sum())
}

/// CPU times of a process.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// All threads, those that have ended too.
    pub(crate) all: Duration,
    /// The event loops.
    pub(crate) loops: Duration,
    /// The thread that writes the journal, in fits.
    pub(crate) recorder: Duration,
    /// The thread that makes the bundle of it, in fits too.
    pub(crate) packer: Duration,
}

impl Cpu {
    /// What was spent since.
    pub(crate) fn since(self, earlier: Cpu) -> Cpu {
        Cpu {
            all: self.all.saturating_sub(earlier.all),
            loops: self.loops.saturating_sub(earlier.loops),
            recorder: self.recorder.saturating_sub(earlier.recorder),
            packer: self.packer.saturating_sub(earlier.packer),
        }
    }

    /// This or a later look at each.
    pub(crate) fn latest(self, later: Cpu) -> Cpu {
        Cpu {
            all: self.all.max(later.all),
            loops: self.loops.max(later.loops),
            recorder: self.recorder.max(later.recorder),
            packer: self.packer.max(later.packer),
        }
    }

    /// All but what writes the bundle.
    pub(crate) fn traffic(self) -> Duration {
        self.all.saturating_sub(self.recorder + self.packer)
    }
}

/// A process, by its files in `/proc`.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    /// CPU times so far. When it has ended and is not reaped yet, only the sum is there.
    pub(crate) fn cpu(self) -> Cpu {
        let all = cpu_in(&fs::read_to_string(self.file("stat")).expect("Linux with /proc"));
        let mut cpu = Cpu { all, ..Cpu::default() };
        for thread in fs::read_dir(self.file("task")).into_iter().flatten().flatten() {
            // A thread may have ended since it was listed.
            let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else { continue };
            if stat.contains("(loop-") {
                cpu.loops += cpu_in(&stat);
            } else if stat.contains("(recorder)") {
                cpu.recorder += cpu_in(&stat);
            } else if stat.contains("(packer)") {
                cpu.packer += cpu_in(&stat);
            }
        }
        cpu
    }

    /// A field of `status` in KiB; `None` when the process has ended.
    pub(crate) fn memory_kib(self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(self.file("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Begins the peak of the memory anew.
    pub(crate) fn reset_peak(self) {
        fs::write(self.file("clear_refs"), "5").expect("Linux with /proc");
    }

    /// The processes that it has started and that run.
    pub(crate) fn children(self) -> Vec<Process> {
        let list = fs::read_to_string(self.file(&format!("task/{}/children", self.0)));
        let list = list.unwrap_or_default();
        list.split_whitespace().filter_map(|id| id.parse().ok()).map(Process).collect()
    }

    /// Its id as the system's calls take it.
    pub(crate) fn pid(self) -> Pid {
        Pid::from_raw(i32::try_from(self.0).expect("an id")).expect("an id")
    }
}

/// CPU time of the whole machine and of this process, to tell what others took.
pub(crate) struct Machine {
    busy: Duration,
    all: Duration,
    own: Duration,
}

impl Machine {
    /// The times so far.
    pub(crate) fn now() -> Machine {
        let stat = fs::read_to_string("/proc/stat").expect("Linux with /proc");
        let line = stat.lines().next().unwrap_or_default();
        // User, nice, system, idle, waiting, interrupts twice, stolen; what follows is in them.
        let fields: Vec<u64> =
            line.split_whitespace().skip(1).take(8).map(|it| it.parse().expect("ticks")).collect();
        let all = fields.iter().sum::<u64>();
        let own = Process(std::process::id()).cpu().all;
        Machine { busy: ticks(all - fields[3] - fields[4]), all: ticks(all), own }
    }

    /// The share of the machine's CPU time since then that neither this process took nor the one
    /// that took `theirs`.
    pub(crate) fn others_since(&self, earlier: &Machine, theirs: Duration) -> f64 {
        let ours = self.own - earlier.own + theirs;
        let others = (self.busy - earlier.busy).saturating_sub(ours);
        others.as_secs_f64() / (self.all - earlier.all).as_secs_f64().max(0.01)
    }
}

/// Raises the limit of open files as far as it goes, and tells how far that is.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Without it, connecting says what is missing.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
