//! Settings of a program's own, beside those of every node: for the participants that it hosts, say.

use super::duration;
use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

/// A setting of a program's own. It is read from the same places as the others, and checked with them.
#[derive(Clone, Debug)]
pub struct Setting {
    pub(super) key: &'static str,
    pub(super) default: &'static str,
    pub(super) form: &'static str,
    bounds: Bounds,
}

#[derive(Clone, Debug)]
enum Bounds {
    Time(RangeInclusive<Duration>),
    Number(RangeInclusive<u64>),
}

impl Setting {
    /// A time within bounds (of a second or more), written with its unit. `form` says what it may be, in words that follow "must be".
    #[must_use]
    pub const fn time(
        key: &'static str, default: &'static str, bounds: RangeInclusive<Duration>, form: &'static str,
    ) -> Self {
        Self { key, default, form, bounds: Bounds::Time(bounds) }
    }

    /// A number within bounds. `form` says what it may be, in words that follow "must be".
    #[must_use]
    pub const fn number(
        key: &'static str, default: &'static str, bounds: RangeInclusive<u64>, form: &'static str,
    ) -> Self {
        Self { key, default, form, bounds: Bounds::Number(bounds) }
    }

    pub(super) fn read(&self, text: &str) -> Option<Value> {
        match &self.bounds {
            Bounds::Time(bounds) => duration(text).filter(|time| bounds.contains(time)).map(Value::Time),
            Bounds::Number(bounds) => text.parse().ok().filter(|number| bounds.contains(number)).map(Value::Number),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Time(Duration),
    Number(u64),
}

/// What a program's own settings are set to.
#[derive(Clone, Debug, Default)]
pub struct Own {
    pub(crate) settings: Vec<Setting>,
    pub(super) values: BTreeMap<&'static str, Value>,
}

impl Own {
    /// The time of that key; nothing when the program declares no such setting.
    #[must_use]
    pub fn time(&self, key: &str) -> Option<Duration> {
        match self.values.get(key) {
            Some(Value::Time(time)) => Some(*time),
            _ => None,
        }
    }

    /// The number of that key; nothing when the program declares no such setting.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.values.get(key) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }
}
