//! The worlds: found by a clean run that records every call, write and timer, then one fault a world.

use crate::{
    hold::{Edge, Hold},
    journal::Dies,
    log::{Neighbour, Numbered, What},
    wires::Fault,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use tercet_core::{Phase, SagaId, StepInstance};

/// A kind of world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing goes wrong.
    Clean,
    /// A step says no; a confirm or a cancel that must not be refused is, once.
    Refused,
    /// A call arrives twice at once.
    Doubled,
    /// A call arrives again when it is answered, and long after the end.
    Repeated,
    /// A call never arrives.
    LostCall,
    /// A call arrives, its reply does not.
    LostReply,
    /// A call arrives when it was made again already.
    LateCall,
    /// A reply comes when the call was made again already.
    LateReply,
    /// A participant says *not now*.
    NotNow,
    /// Nobody answers for a contract.
    NoResponder,
    /// The engine's process dies before a call arrives, or while its reply is on the wire.
    CrashAtCall,
    /// The engine's process dies before a journal write, or after it.
    CrashAtWrite,
    /// Somebody cancels the saga.
    Cancelled,
    /// Somebody cancels the saga while a try is on its way, and the cancel arrives first.
    Overtaken,
    /// A timer is due just before, or just after, something that it races with.
    Timer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Clean,
        Self::Refused,
        Self::Doubled,
        Self::Repeated,
        Self::LostCall,
        Self::LostReply,
        Self::LateCall,
        Self::LateReply,
        Self::NotNow,
        Self::NoResponder,
        Self::CrashAtCall,
        Self::CrashAtWrite,
        Self::Cancelled,
        Self::Overtaken,
        Self::Timer,
    ];

    /// As in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Refused => "refused",
            Self::LostCall => "lost call",
            Self::LostReply => "lost reply",
            Self::LateCall => "late call",
            Self::LateReply => "late reply",
            Self::Doubled => "doubled",
            Self::Repeated => "repeated",
            Self::NotNow => "not now",
            Self::NoResponder => "no responder",
            Self::CrashAtCall => "crash at a call",
            Self::CrashAtWrite => "crash at a write",
            Self::Cancelled => "cancelled",
            Self::Overtaken => "overtaken",
            Self::Timer => "timer",
        }
    }

    /// A process dies.
    pub(crate) const fn is_crash(self) -> bool {
        matches!(self, Self::CrashAtCall | Self::CrashAtWrite)
    }

    /// The saga is to end as if nothing had happened.
    pub(crate) const fn is_transparent(self) -> bool {
        !matches!(self, Self::Refused | Self::Cancelled | Self::Overtaken | Self::Timer)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a saga ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Confirmed.
    Confirmed,
    /// Cancelled.
    Cancelled,
    /// A step of it, or of a saga of its world, waits for a person.
    Parked,
}

impl End {
    /// As in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Parked => "parked",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is done in a world.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    Nothing,
    Call(Numbered, Fault),
    Hold(What, Hold),
    Die(u32, Dies),
    Cancel(u32),
    /// That try is late, and the saga is cancelled meanwhile.
    Overtake(Numbered),
    /// Every call is made once more after the end.
    Copies,
}

/// A world to be run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    /// Which course, by its place.
    pub(crate) course: usize,
    pub(crate) kind: Kind,
    pub(crate) label: String,
    pub(crate) act: Act,
}

/// Figures of an author's participants.
pub type Figures = BTreeMap<String, i64>;

/// What a clean run showed.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The saga under test, by its name in timelines.
    pub(crate) root: String,
    pub(crate) saga: SagaId,
    pub(crate) calls: Vec<Numbered>,
    pub(crate) writes: u32,
    pub(crate) neighbours: Vec<Neighbour>,
    pub(crate) end: End,
    pub(crate) figures: Figures,
    /// The step that was done last before the decision.
    pub(crate) last: Option<StepInstance>,
    /// The steps of the saga under test that are undone when it aborts.
    pub(crate) undone: BTreeSet<StepInstance>,
}

/// A clean run's world.
pub(crate) fn clean(course: usize, name: Option<&str>) -> Case {
    let label = name.unwrap_or(Kind::Clean.as_str()).to_owned();
    Case { course, kind: Kind::Clean, label, act: Act::Nothing }
}

/// Every single-fault world of these courses, but the clean ones.
pub(crate) fn worlds(courses: &[(Option<String>, Record)]) -> Vec<Case> {
    let mut refused = BTreeSet::new();
    let mut worlds = Vec::new();
    for (course, (name, record)) in courses.iter().enumerate() {
        let mut add = |kind: Kind, what: String, act: Act| {
            let label = format!("{kind}: {what}");
            let label = name.as_ref().map_or_else(|| label.clone(), |name| format!("{name}, {label}"));
            worlds.push(Case { course, kind, label, act });
        };
        for call in &record.calls {
            let of = (call.saga.clone(), call.step.clone(), call.phase);
            let may = matches!(call.phase, Phase::Try | Phase::Confirm | Phase::Cancel);
            if may && refused.insert(of) {
                add(Kind::Refused, call.label(&record.root), Act::Call(call.clone(), Fault::refuse()));
            }
            let holds = call.saga == record.root && call.phase == Phase::Try && record.undone.contains(&call.step);
            if course == 0 && holds && call.nth == 1 {
                add(Kind::Overtaken, call.label(&record.root), Act::Overtake(call.clone()));
            }
            for (kind, more, fault) in faults() {
                add(kind, format!("{}{more}", call.label(&record.root)), Act::Call(call.clone(), fault));
            }
        }
        for write in 1..=record.writes {
            for (when, dies) in [("before", Dies::Before), ("after", Dies::After)] {
                add(Kind::CrashAtWrite, format!("{when} write {write}"), Act::Die(write, dies));
            }
            add(Kind::Cancelled, format!("after write {write}"), Act::Cancel(write));
        }
        add(Kind::Repeated, "every call after the end".to_owned(), Act::Copies);
        for (what, label, hold) in holds(record) {
            add(Kind::Timer, label, Act::Hold(what, hold));
        }
    }
    worlds
}

/// What befalls every call.
fn faults() -> [(Kind, &'static str, Fault); 10] {
    [
        (Kind::Doubled, "", Fault::Double),
        (Kind::Repeated, "", Fault::Repeat),
        (Kind::LostCall, "", Fault::LoseCall),
        (Kind::LostReply, "", Fault::LoseReply),
        (Kind::LateCall, "", Fault::LateCall),
        (Kind::LateReply, "", Fault::Late),
        (Kind::NotNow, "", Fault::not_now()),
        (Kind::NoResponder, "", Fault::NoResponder),
        (Kind::CrashAtCall, " not arrived", Fault::KillBefore),
        (Kind::CrashAtCall, " not answered", Fault::KillAfter),
    ]
}

/// Each timer, and what came while it was armed: on both sides of it.
fn holds(record: &Record) -> Vec<(What, String, Hold)> {
    let first = |neighbour: &&Neighbour| match &neighbour.what {
        What::Answer(call) => call.nth == 1,
        What::Hook(_) => true,
    };
    let neighbours: BTreeSet<_> = record.neighbours.iter().filter(first).collect();
    let mut holds = Vec::new();
    for Neighbour { what, saga, timer } in neighbours {
        for edge in [Edge::Before, Edge::After] {
            let hold = Hold { saga: saga.clone(), timer: timer.clone(), edge };
            let came = match what {
                What::Answer(call) => format!("{}'s reply", call.label(&record.root)),
                What::Hook(name) => format!("`{name}`"),
            };
            let label = format!("{came} just {} {}", edge.as_str(), hold.timer(&record.root));
            holds.push((what.clone(), label, hold));
        }
    }
    holds
}
