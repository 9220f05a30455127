//! Durable timers: on the agenda while they are due soon, each fired once, moved and cleared with their rows.

use super::{
    message::{Coming, Incoming},
    worker::{Agenda, Worker},
};
use crate::store::{TimerChange, TimerName, TimerRow};
use tercet_core::SagaId;

/// Sagas that may be on their way from the store, and such with something to be written, when a timer is handed to one more.
const READING_MAX: usize = 512;
const WRITING_MAX: usize = 512;

impl Worker {
    /// Puts a timer that is due soon on the agenda. One that is there for the same time, or has fired for it and is not cleared
    /// yet, is left alone.
    pub(super) fn schedule(&mut self, row: &TimerRow) {
        let key = (row.saga, row.name.clone());
        if !self.is_own(row.saga) {
            return;
        }
        if self.scheduled.get(&key).is_some_and(|planned| planned.0 == row.due) {
            return;
        }
        self.unschedule(row.saga, &row.name);
        if row.due <= self.now().plus(self.shared.settings.look_ahead) {
            let planned = self.plan(row.due, Agenda::Timer(row.saga, row.name.clone()));
            self.scheduled.insert(key, planned);
        }
    }

    /// Takes a timer off the agenda.
    pub(super) fn unschedule(&mut self, saga: SagaId, name: &TimerName) {
        if let Some(planned) = self.scheduled.remove(&(saga, name.clone())) {
            self.agenda.remove(&planned);
        }
    }

    /// Follows what is being written about timers.
    pub(super) fn reschedule(&mut self, changes: &[TimerChange]) {
        self.shared.meters.armed(changes);
        for change in changes {
            match change {
                TimerChange::Set(row) => self.schedule(row),
                TimerChange::Clear(saga, name) => self.unschedule(*saga, name),
            }
        }
    }

    /// Hands timers that are due to their sagas, as fast as these can be read and written: a hundred thousand that are due at once
    /// must not fill memory, nor stand before a saga that is started meanwhile. Both limits give way by themselves.
    pub(super) fn fire(&mut self) {
        while self.loading.len() < READING_MAX && self.next.changes.len() < WRITING_MAX {
            let Some((planned, saga, name)) = self.due.pop_front() else { return };
            let key = (saga, name);
            // It may have been moved or cleared since.
            if self.scheduled.get(&key) == Some(&planned) {
                self.timer_due(saga, key.1);
            }
        }
    }

    /// A timer's time has come: its saga is read if need be, and hears of it.
    fn timer_due(&mut self, saga: SagaId, name: TimerName) {
        let key = (saga, name);
        if let Some(&(due, _)) = self.scheduled.get(&key) {
            self.shared.meters.fired(due, self.now());
        }
        let what = Coming::Due(key.1);
        self.incoming(Incoming { saga, what, inbox: None, reply: None });
    }
}
