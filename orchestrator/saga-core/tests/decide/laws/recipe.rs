//! A family of definitions: pieces of every kind, nested, in all three parts.

use crate::support::*;
use proptest::prelude::*;
use std::cell::Cell;
use tercet_core::{
    Cancelled, Confirmed, Definition, Handle, OnExhausted, OnRefused, Refusal, Retry, Saga, Scope, Trying, dsl, hours,
    minutes, refuse, seconds,
};

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// An operation that reads two earlier results.
    Op {
        kind: u8,
        reads: (u8, u8),
        policy: u8,
    },
    Wait {
        or: bool,
    },
    Sleep,
    When {
        remainder: u8,
        inner: Vec<Self>,
    },
    Each {
        inner: Vec<Self>,
    },
    Child,
}

#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    trying: Vec<Piece>,
    pivot: u8,
    policy: u8,
    confirmed: Vec<Piece>,
    cancelled: Vec<Piece>,
    deadline: bool,
}

fn pieces(depth: u32, most: usize) -> BoxedStrategy<Vec<Piece>> {
    let op = (any::<u8>(), any::<(u8, u8)>(), any::<u8>()).prop_map(|(kind, reads, policy)| Piece::Op {
        kind,
        reads,
        policy,
    });
    let leaf = prop_oneof![
        8 => op,
        1 => any::<bool>().prop_map(|or| Piece::Wait { or }),
        1 => Just(Piece::Sleep),
        1 => Just(Piece::Child),
    ];
    if depth == 0 {
        return prop::collection::vec(leaf, 1..most).boxed();
    }
    let when = (0..2_u8, pieces(depth - 1, 3)).prop_map(|(remainder, inner)| Piece::When { remainder, inner });
    let each = pieces(depth - 1, 3).prop_map(|inner| Piece::Each { inner });
    prop::collection::vec(prop_oneof![6 => leaf, 1 => when, 1 => each], 0..most).boxed()
}

pub(crate) fn recipe() -> impl Strategy<Value = Recipe> {
    let parts = (pieces(2, 6), pieces(1, 4), pieces(1, 3));
    (parts, any::<u8>(), any::<u8>(), any::<bool>()).prop_map(
        |((trying, confirmed, cancelled), pivot, policy, deadline)| Recipe {
            trying,
            pivot,
            policy,
            confirmed,
            cancelled,
            deadline,
        },
    )
}

/// Adds, and says no now and then: a mapper's refusal is a refusal of its step.
fn add((a, b): (i64, i64)) -> Result<i64, Refusal> {
    if (a + b) % 29 == 28 { refuse("unlucky", "by the numbers") } else { Ok((a + b) % 100) }
}

fn undoing() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("undoing", 1);
    let back = saga.pivot("back", Pay).request(saga.input(), it);
    saga.output(back, it)
}

fn child() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("child", 1);
    let back = saga.pivot("pay", Pay).request(saga.input(), it);
    saga.output(back, it)
}

fn pick<P>(known: &[Handle<i64, P>], at: u8) -> Handle<i64, P> {
    known[usize::from(at) % known.len()]
}

/// Names are handed out in the order of declaration.
struct Names(Cell<u32>);

impl Names {
    fn next(&self) -> String {
        self.0.set(self.0.get() + 1);
        format!("n{}", self.0.get())
    }
}

macro_rules! with_policy {
    ($step:expr, $policy:expr) => {{
        let mut step = $step;
        if $policy & 1 == 1 {
            step = step.on_exhausted(if $policy & 2 == 2 { OnExhausted::Park } else { OnExhausted::Abort });
        }
        if $policy & 4 == 4 {
            step = step.retry(Retry::backoff(seconds(1), minutes(1)).attempts(2)).query_limit(3);
        }
        step
    }};
}

impl Recipe {
    pub(crate) fn definition(&self) -> Definition<i64, i64> {
        let mut saga = Saga::<i64>::new("generated", 1);
        if self.deadline {
            saga = saga.deadline(hours(1));
        }
        let names = Names(Cell::new(0));
        let first = saga.read("first", Price).request(saga.input(), it);
        let mut known = vec![first];
        before(&saga, &self.trying, &mut known, &names);
        let last = *known.last().unwrap();
        let pivot = self.pivot(&saga, last);
        saga.on_confirmed(|then| {
            let read = match pivot {
                Some(pivot) => then.read("c", Price).try_request((pivot, last), add),
                None => then.read("c", Price).request(last, it),
            };
            after_commit(then, &self.confirmed, &mut vec![read], &names);
        });
        saga.on_cancelled(|then| {
            let read = then.read("x", Price).request(last.if_done(), |last| last.unwrap_or(-1));
            after_abort(then, &self.cancelled, &mut vec![read], &names);
        });
        saga.output(first, it)
    }

    fn pivot(&self, saga: &Saga<i64>, last: Handle<i64, Trying>) -> Option<Handle<i64, Confirmed>> {
        macro_rules! pivot {
            ($op:ident) => {{
                let step = with_policy!(saga.pivot("pivot", $op).undone_by(undoing, |(a, b)| a + b), self.policy);
                let step = if self.policy & 8 == 8 { step.on_refused(OnRefused::Park) } else { step };
                Some(step.key(last, |l| format!("own-{l}")).request(last, it))
            }};
        }
        match self.pivot % 6 {
            0 => None,
            1 => pivot!(Pay),
            2 => pivot!(PayClosing),
            3 => pivot!(PayLink),
            4 => pivot!(PayBlind),
            _ => Some(saga.pivot_child("pivot", child).input(last, it)),
        }
    }
}

fn before(scope: &Scope<Trying>, pieces: &[Piece], known: &mut Vec<Handle<i64, Trying>>, names: &Names) {
    for piece in pieces {
        let name = names.next();
        let last = *known.last().unwrap();
        let made = match piece {
            Piece::Op { kind, reads, policy } => {
                let reads = (pick(known, reads.0), pick(known, reads.1));
                let parks = if policy & 8 == 8 { OnRefused::Park } else { OnRefused::Abort };
                match kind % 5 {
                    0 | 1 => with_policy!(scope.tcc(&name, Hold), policy).on_refused(parks).try_request(reads, add),
                    2 | 3 => with_policy!(scope.compensable(&name, Book), policy).after(last).try_request(reads, add),
                    _ => with_policy!(scope.read(&name, Price), policy).try_request(reads, add),
                }
            }
            Piece::Wait { or } => {
                let wait = scope.wait_for::<Paid>(&name).after(last);
                let said = if *or { wait.within_or(minutes(5), |()| Paid(5)) } else { wait.within(minutes(5)) };
                scope.read(&names.next(), Price).request(said, |said| said.0)
            }
            Piece::Sleep => {
                let slept = scope.sleep_after(&name, minutes(1), last);
                scope.read(&names.next(), Price).after(slept).request(last, it)
            }
            Piece::Child => scope.child(&name, child).undone_by(undoing, |(a, b)| a + b).input(last, it),
            Piece::When { remainder, inner } => {
                let test = if *remainder == 0 { |l: i64| l % 2 == 0 } else { |l: i64| l % 2 != 0 };
                let body = |then: &Scope<Trying>| {
                    let mut inside = known.clone();
                    before(then, inner, &mut inside, names);
                    *inside.last().unwrap()
                };
                let result = scope.when(&name, last, test, |then| {
                    if inner.is_empty() { last_of(then, last, names) } else { body(then) }
                });
                scope.read(&names.next(), Price).request(result, |r| r.unwrap_or(3))
            }
            Piece::Each { inner } => {
                let result = scope.for_each(
                    &name,
                    last,
                    |l| (0..l.rem_euclid(4)).collect::<Vec<i64>>(),
                    |each, item| {
                        let mut inside = known.clone();
                        inside.push(each.read(&names.next(), Price).request(item, it));
                        before(each, inner, &mut inside, names);
                        *inside.last().unwrap()
                    },
                );
                scope.read(&names.next(), Price).request(result, |all| all.into_iter().sum())
            }
        };
        known.push(made);
    }
}

fn last_of(scope: &Scope<Trying>, last: Handle<i64, Trying>, names: &Names) -> Handle<i64, Trying> {
    scope.compensable(&names.next(), Book).request(last, it)
}

macro_rules! after {
    ($name:ident $part:ty) => {
        fn $name(scope: &Scope<$part>, pieces: &[Piece], known: &mut Vec<Handle<i64, $part>>, names: &Names) {
            for piece in pieces {
                let made = match piece {
                    Piece::When { remainder, inner } => {
                        let test = if *remainder == 0 { |l: i64| l % 2 == 0 } else { |l: i64| l % 2 != 0 };
                        let result = scope.when(&names.next(), *known.last().unwrap(), test, |then| {
                            let mut inside = known.clone();
                            inside.push(then.retriable(&names.next(), Tell).request(inside[0], it));
                            $name(then, inner, &mut inside, names);
                            *inside.last().unwrap()
                        });
                        scope.read(&names.next(), Price).request(result, |r| r.unwrap_or(3))
                    }
                    Piece::Each { inner } => {
                        let items = |l: i64| (0..l.rem_euclid(3)).collect::<Vec<i64>>();
                        let result = scope.for_each(&names.next(), *known.last().unwrap(), items, |each, item| {
                            let mut inside = known.clone();
                            inside.push(each.retriable(&names.next(), Tell).request(item, it));
                            $name(each, inner, &mut inside, names);
                            *inside.last().unwrap()
                        });
                        scope.read(&names.next(), Price).request(result, |all| all.into_iter().sum())
                    }
                    piece => leaf(scope, piece, known, names),
                };
                known.push(made);
            }
        }
    };
}
after!(after_commit Confirmed);
after!(after_abort Cancelled);

fn leaf<P: dsl::AfterDecision + dsl::ReadableIn<P> + 'static>(
    scope: &Scope<P>, piece: &Piece, known: &[Handle<i64, P>], names: &Names,
) -> Handle<i64, P> {
    let name = names.next();
    let last = *known.last().unwrap();
    match piece {
        Piece::Op { kind, reads, policy } => {
            let reads = (pick(known, reads.0), pick(known, reads.1));
            match kind % 4 {
                0 => with_policy!(scope.retriable(&name, Tell), policy).try_request(reads, add),
                1 => with_policy!(scope.external(&name, Wire), policy).try_request(reads, add),
                2 => {
                    let told = scope.signal::<Paid>(&name).to("order", last, |l| format!("o-{l}")).request(last, Paid);
                    scope.read(&names.next(), Price).request(told, |told| i64::from(told.is_too_late()))
                }
                _ => scope.read(&name, Price).after(last).try_request(reads, add),
            }
        }
        Piece::Wait { .. } => {
            let said = scope.wait_for::<Paid>(&name).after(last).within_or(minutes(5), |()| Paid(5));
            scope.read(&names.next(), Price).request(said, |said| said.0)
        }
        Piece::Sleep => {
            let slept = scope.sleep_after(&name, minutes(1), last);
            scope.read(&names.next(), Price).after(slept).request(last, it)
        }
        _ => scope.child(&name, child).input(last, it),
    }
}
