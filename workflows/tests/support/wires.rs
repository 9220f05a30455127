//! The wires between engine and participants, on which messages are lost, doubled and late, and every call is recorded.

use super::clock::Time;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet::transport::{CallError, Calling, InProcess, Transport};
use tercet_core::{Answer, Call, Phase, SagaId};
use tokio::sync::oneshot;

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The participant is not asked; this is the answer.
    Answer(Answer),
    /// It never arrives.
    LoseCall,
    /// It arrives; the answer never does.
    LoseReply,
    /// It arrives twice at once.
    Double,
    /// The answer comes after the caller has stopped waiting.
    Late,
    /// The engine's process dies before the call arrives.
    KillBefore,
    /// It dies while the answer is on the wire.
    KillAfter,
    /// Nobody is there.
    NoResponder,
}

impl Fault {
    /// A definite no, and nothing done.
    pub(crate) fn refuse() -> Self {
        Self::Answer(Answer::refused("refused_on_purpose", "this test refuses it"))
    }

    /// *Not now*.
    pub(crate) fn not_now() -> Self {
        Self::Answer(Answer::retry("this test is not in the mood"))
    }
}

/// Which calls a fault befalls.
#[derive(Clone, Debug)]
struct Planned {
    /// Of the one refund or payment of that id, or of any.
    of: Option<String>,
    step: String,
    phase: Phase,
    /// The first so many, or all.
    times: Option<u32>,
    fault: Fault,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) call: Call,
    /// What the participant answered, whether or not that arrived.
    pub(crate) answer: Option<Answer>,
}

#[derive(Default)]
struct State {
    planned: Vec<Planned>,
    made: Vec<Made>,
}

/// A transport in this process that misbehaves as planned.
pub(crate) struct Wires {
    inner: InProcess,
    time: Arc<Time>,
    state: Arc<Mutex<State>>,
}

impl Wires {
    pub(crate) fn new(inner: InProcess, time: &Arc<Time>) -> Arc<Self> {
        Arc::new(Self { inner, time: time.clone(), state: Arc::default() })
    }

    /// The next `times` calls of that step and phase meet this; all of them, without a number.
    pub(crate) fn plan(&self, step: &str, phase: Phase, times: impl Into<Option<u32>>, fault: Fault) {
        let planned = Planned { of: None, step: step.to_owned(), phase, times: times.into(), fault };
        self.state.lock().unwrap().planned.push(planned);
    }

    /// The next call of that step and phase of that refund or payment meets this.
    pub(crate) fn plan_for(&self, of: &impl ToString, step: &str, phase: Phase, fault: Fault) {
        let planned = Planned { of: Some(of.to_string()), step: step.to_owned(), phase, times: Some(1), fault };
        self.state.lock().unwrap().planned.push(planned);
    }

    /// What was planned and did not happen is forgotten. Says how much that was.
    pub(crate) fn heal(&self) -> usize {
        let planned = std::mem::take(&mut self.state.lock().unwrap().planned);
        planned.iter().filter(|planned| planned.times.is_some_and(|times| times > 0)).count()
    }

    /// The calls of a saga, in the order in which they were made.
    pub(crate) fn made(&self, saga: SagaId) -> Vec<Made> {
        let state = self.state.lock().unwrap();
        state.made.iter().filter(|made| made.call.saga == saga).cloned().collect()
    }

    /// How often each step was asked for each phase.
    pub(crate) fn counts(&self, saga: SagaId) -> BTreeMap<(String, Phase), u32> {
        self.made(saga).iter().fold(BTreeMap::new(), |mut counts, made| {
            *counts.entry((made.call.step.to_string(), made.call.phase)).or_default() += 1;
            counts
        })
    }

    /// The steps and phases that were asked for what is known by that id, whichever saga asked.
    pub(crate) fn calls_about(&self, id: &impl ToString) -> BTreeSet<(String, Phase)> {
        let (state, id) = (self.state.lock().unwrap(), format!("\"{}\"", id.to_string()));
        let about = state.made.iter().filter(|made| made.call.request.as_str().contains(&id));
        about.map(|made| (made.call.step.to_string(), made.call.phase)).collect()
    }

    /// Every call of a saga once more, one after the other, as copies that a network kept back; what each is answered now.
    pub(crate) async fn send_again(&self, calls: impl IntoIterator<Item = Made>) -> Vec<(Made, Answer)> {
        let mut answers = Vec::new();
        for made in calls {
            let answer = self.inner.call(made.call.clone()).await.unwrap();
            answers.push((made, answer));
        }
        answers
    }

    fn fate(&self, call: &Call) -> (usize, Option<Fault>) {
        let mut state = self.state.lock().unwrap();
        state.made.push(Made { call: call.clone(), answer: None });
        let number = state.made.len() - 1;
        let befalls = |p: &&mut Planned| {
            // A request of every step of a refund, or of a payment, names it.
            let is_of = |id: &String| call.request.as_str().contains(&format!("\"{id}\""));
            let is_named = p.of.as_ref().is_none_or(is_of);
            p.step == call.step.as_str() && p.phase == call.phase && p.times != Some(0) && is_named
        };
        let fault = state.planned.iter_mut().find(befalls).map(|planned| {
            planned.times = planned.times.map(|times| times - 1);
            planned.fault.clone()
        });
        (number, fault)
    }
}

impl Transport for Wires {
    fn call(&self, call: Call) -> Calling {
        let (number, fault) = self.fate(&call);
        let (time, state) = (self.time.clone(), self.state.clone());
        let (first, second) = (self.inner.call(call.clone()), self.inner.call(call.clone()));
        let (reply, answer) = oneshot::channel();
        let busy = time.busy();
        // A participant is a process of its own: it goes on when the engine's dies.
        tokio::spawn(async move {
            let arrive = async || {
                let answer = first.await;
                state.lock().unwrap().made[number].answer = answer.clone().ok();
                answer
            };
            let said = match fault {
                None => arrive().await,
                Some(Fault::Answer(answer)) => Ok(answer),
                Some(Fault::Double) => tokio::join!(arrive(), second).0,
                Some(Fault::NoResponder) => Err(CallError::NoResponder { contract: call.contract.to_string() }),
                Some(Fault::Late) => {
                    let answer = arrive().await;
                    drop(busy);
                    time.sleep(call.timeout + Duration::from_secs(5)).await;
                    drop(reply.send(answer));
                    return;
                }
                Some(lost @ (Fault::LoseCall | Fault::LoseReply)) => {
                    if lost == Fault::LoseReply {
                        drop(arrive().await);
                    }
                    drop(busy);
                    time.sleep(call.timeout * 6).await;
                    drop(reply.send(Err(CallError::Silent("it was lost".to_owned()))));
                    return;
                }
                Some(kill @ (Fault::KillBefore | Fault::KillAfter)) => {
                    if kill == Fault::KillAfter {
                        drop(arrive().await);
                    }
                    time.crash();
                    return;
                }
            };
            drop(reply.send(said));
            // The engine's turn comes before the clock's.
            tokio::task::yield_now().await;
            drop(busy);
        });
        Box::pin(
            async move { answer.await.unwrap_or_else(|_| Err(CallError::Silent("the connection broke".to_owned()))) },
        )
    }
}
