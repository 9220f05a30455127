//! What happened in a world, in order: what a timeline is drawn from.

use crate::{locked, time::Time};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tercet_core::{DefinitionName, Millis, Payload, Phase, SagaId, StepInstance, Timer};

/// Characters of a payload that a line shows.
const PAYLOAD_CHARS: usize = 60;

/// What stands at a line's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// As it goes.
    Plain,
    /// What the world does to the saga.
    Fault,
    /// What the author's hooks do.
    Hook,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) at: Millis,
    pub(crate) saga: String,
    pub(crate) step: String,
    /// The phase and its number, of a call.
    pub(crate) call: String,
    pub(crate) mark: Mark,
    pub(crate) text: String,
}

/// The log of a world.
pub(crate) struct Log {
    time: Arc<Time>,
    lines: Mutex<Vec<Line>>,
    names: Mutex<Names>,
    wrong: Mutex<Vec<String>>,
    neighbours: Mutex<Vec<Neighbour>>,
}

/// Something that came while a timer was armed: a call's answer, or a hook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Neighbour {
    pub(crate) what: What,
    /// Whose timer.
    pub(crate) saga: String,
    pub(crate) timer: Timer,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// The answer to a call.
    Answer(Numbered),
    /// A hook, by its name.
    Hook(String),
}

/// The timers that are armed, by the saga's name, and when they are due.
pub(crate) type Armed = BTreeMap<(String, Timer), Millis>;

#[derive(Default)]
struct Names {
    of: BTreeMap<SagaId, String>,
    sagas: BTreeMap<DefinitionName, u32>,
}

impl Log {
    pub(crate) fn new(time: &Arc<Time>) -> Arc<Self> {
        Arc::new(Self {
            time: time.clone(),
            lines: Mutex::default(),
            names: Mutex::default(),
            wrong: Mutex::default(),
            neighbours: Mutex::default(),
        })
    }

    /// A saga began: from now on it is called by its definition, with a number from the second one on.
    pub(crate) fn began(&self, saga: SagaId, definition: &DefinitionName) {
        let mut names = locked(&self.names);
        let sagas = names.sagas.entry(definition.clone()).or_default();
        *sagas += 1;
        let name = if *sagas == 1 { definition.to_string() } else { format!("{definition} {sagas}") };
        names.of.entry(saga).or_insert(name);
    }

    pub(crate) fn name(&self, saga: SagaId) -> String {
        locked(&self.names).of.get(&saga).cloned().unwrap_or_else(|| saga.to_string())
    }

    pub(crate) fn of_saga(&self, saga: SagaId, mark: Mark, text: String) {
        self.push(self.name(saga), String::new(), String::new(), mark, text);
    }

    pub(crate) fn of_call(&self, call: &Numbered, mark: Mark, text: String) {
        self.push(call.saga.clone(), call.step.to_string(), format!("{} #{}", call.phase, call.nth), mark, text);
    }

    pub(crate) fn of_world(&self, mark: Mark, text: String) {
        self.push(String::new(), String::new(), String::new(), mark, text);
    }

    fn push(&self, saga: String, step: String, call: String, mark: Mark, text: String) {
        locked(&self.lines).push(Line { at: self.time.now(), saga, step, call, mark, text });
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        locked(&self.lines).clone()
    }

    /// Something came while these timers were armed.
    pub(crate) fn neighbour(&self, what: &What, armed: Armed) {
        let of = |(saga, timer)| Neighbour { what: what.clone(), saga, timer };
        locked(&self.neighbours).extend(armed.into_keys().map(of));
    }

    pub(crate) fn neighbours(&self) -> Vec<Neighbour> {
        locked(&self.neighbours).clone()
    }

    /// What was seen that must not be. Said once, however often it was seen.
    pub(crate) fn wrong(&self, what: String) {
        let mut wrong = locked(&self.wrong);
        if !wrong.contains(&what) {
            wrong.push(what);
        }
    }

    pub(crate) fn take_wrong(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.wrong))
    }
}

/// A call as worlds and people name it: the saga, the step, the phase, and which call of these it is, from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Numbered {
    pub(crate) saga: String,
    pub(crate) step: StepInstance,
    pub(crate) phase: Phase,
    pub(crate) nth: u32,
}

impl Numbered {
    /// As in `hold try #1`; with the saga's name unless it is the one under test.
    pub(crate) fn label(&self, root: &str) -> String {
        let Self { saga, step, phase, nth } = self;
        if saga == root { format!("{step} {phase} #{nth}") } else { format!("{saga}/{step} {phase} #{nth}") }
    }
}

/// A payload, cut where it is long; nothing for `null`.
pub(crate) fn short(payload: &Payload) -> String {
    cut(if payload.as_str() == "null" { "" } else { payload.as_str() })
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(PAYLOAD_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
