//! Effects, exhausted: two attempts, each delivered twice, a third party that is slow, silent, or fails, queries that are answered
//! late, fences, closes. Whoever was told a definite no must never see the money move, unless another attempt was handed on since.

use super::exhaust;
use crate::{
    barrier::{
        Effect,
        effect::{Close, EffectState, Execute, Learnt, Query},
    },
    outcome::{Closing, Found, Handed},
};
use std::time::Duration;
use tercet_core::{Answer, Call, IdempotencyKey, Millis, Payload, Phase, Refusal, SagaId, ShardId, StepInstance};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Party {
    KnowsNothing,
    Accepted,
    Done,
    Failed,
    Closed,
}

/// A call that was handed on.
#[derive(Clone, Copy, Debug)]
struct Flight {
    attempt: u32,
    /// Its owner still waits for the answer.
    owned: bool,
    /// The third party has it.
    landed: bool,
    /// The third party said no to it, once: it is over.
    refused: bool,
}

#[derive(Clone, Debug)]
struct World {
    row: Option<Effect>,
    /// Deliveries left of executes 1 and 2.
    executes: [u8; 2],
    handed: [u8; 2],
    flights: Vec<Flight>,
    party: Party,
    /// A query or close that was asked, and what the third party said then.
    asked: Option<(Phase, bool, Asked)>,
    asks: u8,
    late: bool,
    /// A query has fenced both attempts.
    fenced: bool,
    /// Somebody was told a definite no.
    promised: bool,
    broken: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Asked {
    Found(Found<Payload>),
    Closing(Closing<Payload>),
}

fn call(phase: Phase, attempt: u32, fence: bool) -> Call {
    let saga = SagaId::from_parts(1, [0; 10], ShardId::new(0).unwrap());
    let step: StepInstance = "money".parse().unwrap();
    Call {
        key: IdempotencyKey::of_step(saga, &step),
        saga,
        step,
        contract: "gateway.refund/1".parse().unwrap(),
        phase,
        attempt,
        issued: Millis(0),
        timeout: Duration::from_millis(10),
        expires: None,
        fence,
        request: Payload::null(),
        reply: None,
    }
}

impl World {
    fn now(&self) -> Millis {
        Millis(if self.late { 100 } else { 0 })
    }

    fn no(&self) -> Refusal {
        Refusal::new("no", "no")
    }

    fn said(&mut self, answer: &Answer) {
        let definite = matches!(answer, Answer::Refused(_) | Answer::Closed);
        let unanswered = self.flights.iter().any(|flight| flight.owned);
        if definite && unanswered && self.party != Party::Closed && self.party != Party::Failed {
            self.broken = Some("a definite no while a call was under way");
        }
        self.promised |= definite;
        if matches!(answer, Answer::Done(_)) && self.party != Party::Done {
            self.broken = Some("done, and the third party has not done it");
        }
    }

    fn learn(mut self, learnt: Learnt) -> Self {
        if let Some(row) = learnt.row {
            self.row = Some(row);
        }
        self.said(&learnt.answer);
        self
    }

    fn execute(&self, attempt: u32) -> Self {
        let mut world = self.clone();
        let place = attempt as usize - 1;
        world.executes[place] -= 1;
        match Effect::plan_execute(world.row.as_ref(), &call(Phase::Try, attempt, false), world.now()) {
            Execute::Say(answer) => {
                let own = world.flights.iter().any(|flight| flight.attempt == attempt && !flight.refused);
                if own && matches!(answer, Answer::Refused(_)) && !matches!(world.party, Party::Closed | Party::Failed)
                {
                    world.broken = Some("a copy of what is handed on and unanswered was refused");
                }
                world.said(&answer);
            }
            Execute::HandOn(row) => {
                if world.fenced || row.closing || row.state != EffectState::Intent {
                    world.broken = Some("a call started after the row was fenced or closed");
                }
                world.row = Some(row);
                world.handed[place] += 1;
                world.promised = false;
                world.flights.push(Flight { attempt, owned: true, landed: false, refused: false });
            }
        }
        world
    }

    /// The owner of that flight hears `handed`; `gone`: nothing of it is on its way any more.
    fn heard(&self, place: usize, handed: Handed<Payload>, gone: bool) -> Self {
        let mut world = self.clone();
        let flight = world.flights[place];
        if gone {
            world.flights.remove(place);
        } else {
            world.flights[place].owned = false;
            world.flights[place].refused = matches!(handed, Handed::Refused(_));
        }
        let row = world.row.clone().unwrap();
        let learnt = row.after_execute(flight.attempt, handed, world.now());
        world.learn(learnt)
    }

    fn land(&self, place: usize, party: Party) -> Self {
        let mut world = self.clone();
        world.flights[place].landed = true;
        if world.party == Party::KnowsNothing || world.party == Party::Accepted {
            world.party = party;
        }
        world
    }

    fn found(&self) -> Found<Payload> {
        match self.party {
            Party::KnowsNothing => Found::Absent,
            Party::Accepted => Found::Pending(Payload::null()),
            Party::Done => Found::Done(Payload::null()),
            Party::Failed | Party::Closed => Found::Refused(self.no()),
        }
    }

    fn query(&self, fence: bool) -> Self {
        let mut world = self.clone();
        world.asks -= 1;
        match Effect::plan_query(world.row.as_ref(), &call(Phase::Query, 2, fence), world.now()) {
            Query::Say(answer) => world.said(&answer),
            Query::Ask(row) => {
                world.row = row.or(world.row);
                world.fenced |= fence;
                world.asked = Some((Phase::Query, fence, Asked::Found(world.found())));
            }
        }
        world
    }

    fn close(&self) -> Self {
        let mut world = self.clone();
        world.asks -= 1;
        match Effect::plan_close(world.row.as_ref(), true, world.now()) {
            Close::Say(answer) => world.said(&answer),
            Close::Closed(row) => {
                world.row = Some(row);
                world.said(&Answer::Closed);
            }
            Close::Ask(row) => {
                world.row = Some(row);
                let closing = match world.party {
                    Party::KnowsNothing => Closing::Absent,
                    Party::Done => Closing::Done(Payload::null()),
                    Party::Accepted | Party::Failed | Party::Closed => {
                        world.party = Party::Closed;
                        Closing::Closed
                    }
                };
                world.asked = Some((Phase::Close, false, Asked::Closing(closing)));
            }
        }
        world
    }

    /// The answer to what was asked comes home, perhaps much later.
    fn answered(&self) -> Option<Self> {
        let mut world = self.clone();
        let (phase, fence, said) = world.asked.take()?;
        let (call, now) = (call(phase, 2, fence), world.now());
        let learnt = match said {
            Asked::Found(found) => Effect::after_query(world.row.as_ref(), &call, found, now),
            Asked::Closing(closing) => {
                let row = world.row.clone().unwrap_or_else(|| Effect::new(now));
                row.after_close(&call, closing, now)
            }
        };
        let absent = learnt.answer == Answer::Absent;
        let closed = world.row.as_ref().is_some_and(|row| row.state == EffectState::Closed);
        let owned = !closed && !world.late && world.flights.iter().any(|flight| flight.owned);
        if owned && phase == Phase::Query && matches!(learnt.answer, Answer::Refused(_)) {
            world.broken = Some("a query settled what the owner of a call still waits for");
        }
        let mut world = world.learn(learnt);
        world.promised |= absent && fence;
        Some(world)
    }
}

fn flown(world: &World, place: usize) -> Vec<(String, World)> {
    let flight = world.flights[place];
    let n = flight.attempt;
    let mut reached = Vec::new();
    if flight.owned && flight.landed {
        reached.push((format!("{n} times out"), world.heard(place, Handed::unknown("silence"), true)));
        match world.party {
            Party::Done => reached.push((format!("{n} done"), world.heard(place, Handed::Done(Payload::null()), true))),
            Party::Accepted => {
                reached.push((format!("{n} accepted"), world.heard(place, Handed::Pending(Payload::null()), true)));
            }
            _ => reached.push((format!("{n} refused"), world.heard(place, Handed::Refused(world.no()), true))),
        }
    } else if flight.owned {
        reached.push((format!("{n} times out, under way"), world.heard(place, Handed::unknown("silence"), false)));
        reached.push((format!("{n} not sent"), world.heard(place, Handed::not_sent("down"), true)));
        if world.party != Party::Done {
            reached.push((format!("{n} refused at once"), world.heard(place, Handed::Refused(world.no()), true)));
        }
    }
    if !flight.landed && !flight.refused {
        for party in [Party::Done, Party::Accepted, Party::Failed] {
            reached.push((format!("{n} lands: {party:?}"), world.land(place, party)));
        }
    }
    reached
}

fn next(world: &World) -> Vec<(String, World)> {
    let mut reached = Vec::new();
    for attempt in 1..=2 {
        if world.executes[attempt as usize - 1] > 0 {
            reached.push((format!("execute {attempt}"), world.execute(attempt)));
        }
    }
    for place in 0..world.flights.len() {
        reached.extend(flown(world, place));
    }
    if world.party == Party::Accepted {
        reached.push(("it is done".into(), World { party: Party::Done, ..world.clone() }));
        reached.push(("it fails for good".into(), World { party: Party::Failed, ..world.clone() }));
    }
    if world.asks > 0 && world.asked.is_none() {
        reached.push(("query".into(), world.query(false)));
        reached.push(("fence".into(), world.query(true)));
        reached.push(("close".into(), world.close()));
    }
    reached.extend(world.answered().map(|world| ("answered".into(), world)));
    if !world.late {
        reached.push(("time passes".into(), World { late: true, ..world.clone() }));
    }
    reached
}

fn holds(world: &World) -> bool {
    world.broken.is_none()
        && world.handed.iter().all(|&times| times <= 1)
        && !(world.promised && world.party == Party::Done)
}

#[test]
fn g11_a_definite_no_is_never_followed_by_the_money_in_every_order() {
    let first = World {
        row: None,
        executes: [2, 2],
        handed: [0, 0],
        flights: Vec::new(),
        party: Party::KnowsNothing,
        asked: None,
        asks: 2,
        late: false,
        fenced: false,
        promised: false,
        broken: None,
    };
    let states = exhaust(first, |world| format!("{world:?}"), next, holds);
    insta::assert_snapshot!(states, @"76569");
}
