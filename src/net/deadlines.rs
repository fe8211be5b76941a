//! What happens because its time has come: time-outs, further attempts, sweeps.

use std::time::Instant;

use crate::limits::SWEEP_INTERVAL;
use crate::net::event_loop::{ConnKey, EventLoop, TimerKey};

impl EventLoop {
    /// Deadlines are looked at from now on.
    pub(super) fn keep_sweeping(&mut self) {
        if !std::mem::replace(&mut self.sweeping, true) {
            self.timers.add(self.desk.now.instant + SWEEP_INTERVAL, TimerKey::Sweep);
        }
    }

    /// Does what the time has come for.
    pub(super) fn fire_timers(&mut self) {
        let now = self.desk.now.instant;
        while let Some((at, key)) = self.timers.expired(now) {
            match key {
                TimerKey::Conn(conn) => self.conn_timer(conn, at),
                TimerKey::Dial(dial) => self.step_dial(dial, |it| it.dial_timer(dial)),
                TimerKey::Sweep => self.sweep(),
                TimerKey::Accept => self.resume_accepting(),
                TimerKey::Announce => self.announce(),
                TimerKey::Grace => self.kill(),
            }
        }
    }

    fn conn_timer(&mut self, key: ConnKey, at: Instant) {
        if let Some(entry) = self.conns.get_mut(key)
            && entry.scheduled == Some(at)
        {
            entry.scheduled = None;
            self.look_at_deadline(key);
        }
    }

    /// Looks at all deadlines, of which most are far away and move with every byte: entries
    /// among the timers would outlive their connections by minutes.
    fn sweep(&mut self) {
        let now = self.desk.now.instant;
        for key in self.conns.keys() {
            self.look_at_deadline(key);
        }
        for key in self.dials.keys() {
            self.step_dial(key, |it| it.dial_timer(key));
        }
        for socket in self.pool.expire(now) {
            self.close_upstream(socket);
        }
        let idle = self.conns.is_empty() && self.dials.is_empty() && self.pool.is_empty();
        self.sweeping = !idle;
        if self.sweeping {
            self.timers.add(now + SWEEP_INTERVAL, TimerKey::Sweep);
        }
    }

    fn look_at_deadline(&mut self, key: ConnKey) {
        let now = self.desk.now.instant;
        let Some(entry) = self.conns.get_mut(key) else { return };
        let deadline = entry.conn.deadline(&self.desk.options);
        if now < deadline && deadline >= now + SWEEP_INTERVAL {
            return;
        }
        let looked = self.step(key, |it, entry| {
            let is_over = now >= deadline && entry.conn.is_closed();
            if is_over {
                // Even its last words were not taken in time: the client has to see that.
                it.say_last_words(entry);
            } else if now >= deadline {
                entry.conn.time_out(&mut it.desk.context());
                it.execute_commands(key, entry);
            }
            is_over
        });
        match looked {
            Some((entry, true)) => self.bury(key, *entry),
            Some((entry, false)) => {
                self.conns.put_back(key, entry);
                self.enqueue(key);
            }
            None => {}
        }
    }
}
