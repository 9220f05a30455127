//! The saga that `tercet bench chain` runs: eight compensable steps in a row, in this process, refused at the seventh now and then.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tercet_core::{
    Answer, Answering, Call, ContractName, Definition, Operation, Participant, Payload, Phase, Saga, kind,
};

/// Bytes of a saga's input, and of a step's reply, before JSON's quotes.
pub(super) const INPUT_BYTES: usize = 200;
const REPLY_BYTES: usize = 100;

/// Steps in the chain; the seventh is the one that refuses.
pub(super) const STEPS: u64 = 8;
const REFUSING: &str = "g";

/// One saga in so many is refused at step seven and undone.
pub(super) const REFUSED_ONE_IN: u64 = 10;

/// What the chain starts with.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Link {
    /// Which saga of the run it is: every tenth is refused.
    pub(super) number: u64,
    /// Incompressible text.
    pub(super) text: String,
}

pub(super) struct Work;

impl Operation for Work {
    const NAME: &'static str = "bench.work/1";
    type Kind = kind::Compensable;
    type Request = Link;
    type Reply = String;
}

/// Eight steps, each after the one before it.
pub(super) fn chain() -> Definition<Link, String> {
    let saga = Saga::<Link>::new("bench_chain", 1);
    let input = saga.input();
    let mut last = saga.compensable("a", Work).request(input, |link| link);
    for name in ["b", "c", "d", "e", "f", REFUSING, "h"] {
        last = saga.compensable(name, Work).after(last).request(input, |link| link);
    }
    saga.output(last, |text| text)
}

/// What a worker has done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Steps done, undone, refused.
    pub(super) done: u64,
    pub(super) undone: u64,
    pub(super) refused: u64,
    pub(super) violations: Vec<String>,
}

/// The participant of every step. It keeps count of what was done and undone, so that the run can be checked.
#[derive(Debug, Default)]
pub(super) struct Worker {
    done: AtomicU64,
    undone: AtomicU64,
    refused: AtomicU64,
    /// Steps done and not undone, by saga: what a cancelled saga must not leave.
    left: Mutex<BTreeMap<u64, u64>>,
    noise: AtomicU64,
}

impl Worker {
    fn answer(&self, call: &Call) -> Answer {
        let Ok(link) = call.request.parse::<Link>() else {
            return Answer::refused("unreadable_request", "not a link of the chain");
        };
        match call.phase {
            Phase::Try if call.step.as_str() == REFUSING && link.number.is_multiple_of(REFUSED_ONE_IN) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Answer::refused("tenth", "every tenth saga is refused here")
            }
            Phase::Try => {
                self.done.fetch_add(1, Ordering::Relaxed);
                *self.left().entry(link.number).or_default() += 1;
                Payload::of(&noise(&self.noise, REPLY_BYTES)).map_or(Answer::retry("no reply"), Answer::Done)
            }
            Phase::Cancel => {
                self.undone.fetch_add(1, Ordering::Relaxed);
                let mut left = self.left();
                if let Some(steps) = left.get_mut(&link.number) {
                    *steps = steps.saturating_sub(1);
                }
                Answer::Done(Payload::null())
            }
            _ => Answer::refused("no_such_phase", "a compensable step is executed and compensated"),
        }
    }

    fn left(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, u64>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with what is left of each saga: eight steps of a confirmed one, none of a refused one.
    fn violations(&self) -> Vec<String> {
        let right = |number: u64| if number.is_multiple_of(REFUSED_ONE_IN) { 0 } else { STEPS };
        let left = self.left();
        let wrong = left.iter().filter(|(number, steps)| **steps != right(**number));
        wrong.take(10).map(|(number, steps)| format!("saga {number} has {steps} steps left")).collect()
    }
}

impl Worker {
    pub(super) fn tally(&self) -> Tally {
        let [done, undone, refused] =
            [&self.done, &self.undone, &self.refused].map(|count| count.load(Ordering::Relaxed));
        Tally { done, undone, refused, violations: self.violations() }
    }
}

impl Participant for Worker {
    fn name(&self) -> &str {
        "bench"
    }

    fn contracts(&self) -> Vec<ContractName> {
        Work::NAME.parse().into_iter().collect()
    }

    fn call(&self, call: Call) -> Answering<'_> {
        Box::pin(async move { self.answer(&call) })
    }
}

/// A shared worker as a participant of its own name.
pub(super) fn participant(worker: &Arc<Worker>) -> Arc<dyn Participant> {
    worker.clone()
}

/// Text that does not compress (xorshift64*, in 64 printable characters).
pub(super) fn noise(state: &AtomicU64, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut x = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) | 1;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        let mut six = x.wrapping_mul(0x2545_f491_4f6c_dd1d);
        for _ in 0..10.min(bytes - text.len()) {
            text.push(char::from(LETTERS[(six & 63) as usize]));
            six >>= 6;
        }
    }
    text
}
