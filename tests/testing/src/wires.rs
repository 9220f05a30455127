//! The wires between engine and participants, on which messages are lost, doubled and late, and every call is recorded.

use crate::{
    hold::Hold,
    journal::Journal,
    locked,
    log::{Log, Mark, Numbered, What, short},
    time::Time,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet::transport::{CallError, Calling, InProcess, Transport};
use tercet_core::{Answer, Call, Phase, SagaId};
use tokio::sync::oneshot;

/// The code of a refusal that the kit makes up.
pub const REFUSED: &str = "refused_on_purpose";

/// How long after a call's timeout a late answer comes.
const LATE: Duration = Duration::from_secs(5);

/// Timeouts after which a call that was lost is certainly not waited for any more.
const LOST: u32 = 6;

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The participant is not asked; this is the answer.
    Answer(Answer),
    /// It never arrives.
    LoseCall,
    /// It arrives; the answer never does.
    LoseReply,
    /// It arrives twice at once.
    Double,
    /// It arrives again as soon as it is answered.
    Repeat,
    /// The answer comes after the caller has stopped waiting.
    Late,
    /// The call arrives after the caller has stopped waiting, and asked again.
    LateCall,
    /// The engine's process dies before the call arrives.
    KillBefore,
    /// It dies while the answer is on the wire.
    KillAfter,
    /// Nobody is there.
    NoResponder,
    /// The answer is held back until just before, or just after, a timer is due.
    Hold(Hold),
}

impl Fault {
    /// A definite no, and nothing done.
    #[must_use]
    pub fn refuse() -> Self {
        Self::Answer(Answer::refused(REFUSED, "this test refuses it"))
    }

    /// *Not now*.
    #[must_use]
    pub fn not_now() -> Self {
        Self::Answer(Answer::retry("this test is not in the mood"))
    }

    /// What it does, for timelines.
    fn words(&self) -> String {
        match self {
            Self::Answer(answer) => format!("the participant is not asked; answered {}", said(answer)),
            Self::LoseCall => "the call is lost".to_owned(),
            Self::LoseReply => "the reply will be lost".to_owned(),
            Self::Double => "it arrives twice at once".to_owned(),
            Self::Repeat => "it arrives again once it is answered".to_owned(),
            Self::Late => "the reply will come when nobody waits any more".to_owned(),
            Self::LateCall => "the call is delayed, and arrives when it was made again".to_owned(),
            Self::KillBefore => "the process dies before the call arrives".to_owned(),
            Self::KillAfter => "the process dies while the reply is on the wire".to_owned(),
            Self::NoResponder => "nobody is there".to_owned(),
            Self::Hold(hold) => format!("the reply is held back until {hold}"),
        }
    }
}

/// An answer in a few words.
pub(crate) fn said(answer: &Answer) -> String {
    let more = match answer {
        Answer::Done(reply) | Answer::Pending(reply) => short(reply),
        Answer::Refused(refusal) => refusal.to_string(),
        Answer::Retry { reason, .. } => reason.clone(),
        Answer::Expired | Answer::Absent | Answer::Closed => String::new(),
    };
    format!("{} {more}", answer.as_str()).trim_end().to_owned()
}

type Befalls = Arc<dyn Fn(&Call, &Numbered) -> bool + Send + Sync>;

/// Which calls a fault befalls.
#[derive(Clone)]
struct Planned {
    befalls: Befalls,
    /// The first so many, or all.
    times: Option<u32>,
    fault: Fault,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The call.
    pub call: Call,
    /// What the participant answered, whether or not that arrived.
    pub answer: Option<Answer>,
    /// What copies of it were answered.
    pub copies: Vec<Answer>,
    pub(crate) numbered: Numbered,
}

#[derive(Default)]
struct State {
    planned: Vec<Planned>,
    made: Vec<Made>,
    /// Calls that are on the wires.
    under_way: u32,
}

/// A transport in this process that misbehaves as planned.
#[derive(Clone)]
pub struct Wires {
    inner: InProcess,
    time: Arc<Time>,
    journal: Arc<Journal>,
    log: Arc<Log>,
    state: Arc<Mutex<State>>,
}

impl Wires {
    pub(crate) fn new(inner: InProcess, time: &Arc<Time>, journal: &Arc<Journal>, log: &Arc<Log>) -> Arc<Self> {
        let (time, journal, log) = (time.clone(), journal.clone(), log.clone());
        Arc::new(Self { inner, time, journal, log, state: Arc::default() })
    }

    fn planned(
        &self, times: Option<u32>, fault: Fault, befalls: impl Fn(&Call, &Numbered) -> bool + Send + Sync + 'static,
    ) {
        let planned = Planned { befalls: Arc::new(befalls), times, fault };
        locked(&self.state).planned.push(planned);
    }

    /// The next `times` calls of that step and phase meet this; all of them, without a number.
    pub fn plan(&self, step: &str, phase: Phase, times: impl Into<Option<u32>>, fault: Fault) {
        let step = step.to_owned();
        self.planned(times.into(), fault, move |call, _| call.step.as_str() == step && call.phase == phase);
    }

    /// The next call of that step and phase whose request names `id` in quotes meets this.
    pub fn plan_for(&self, id: &(impl Display + ?Sized), step: &str, phase: Phase, fault: Fault) {
        let (id, step) = (format!("\"{id}\""), step.to_owned());
        self.planned(Some(1), fault, move |call, _| {
            call.step.as_str() == step && call.phase == phase && call.request.as_str().contains(&id)
        });
    }

    /// That call meets this.
    pub(crate) fn plan_call(&self, of: Numbered, fault: Fault) {
        self.planned(Some(1), fault, move |_, numbered| *numbered == of);
    }

    /// The answers to all calls of that step and phase are held back.
    pub(crate) fn plan_hold(&self, of: Numbered, hold: Hold) {
        self.planned(None, Fault::Hold(hold), move |_, numbered| Numbered { nth: of.nth, ..numbered.clone() } == of);
    }

    /// What was planned and did not happen is forgotten. Says how much that was.
    pub fn heal(&self) -> usize {
        let planned = std::mem::take(&mut locked(&self.state).planned);
        planned.iter().filter(|planned| planned.times.is_some_and(|times| times > 0)).count()
    }

    /// The calls of a saga, in the order in which they were made.
    #[must_use]
    pub fn made(&self, saga: SagaId) -> Vec<Made> {
        let state = locked(&self.state);
        state.made.iter().filter(|made| made.call.saga == saga).cloned().collect()
    }

    pub(crate) fn all(&self) -> Vec<Made> {
        locked(&self.state).made.clone()
    }

    pub(crate) fn under_way(&self) -> u32 {
        locked(&self.state).under_way
    }

    /// How often each step was asked for each phase.
    #[must_use]
    pub fn counts(&self, saga: SagaId) -> BTreeMap<(String, Phase), u32> {
        self.made(saga).iter().fold(BTreeMap::new(), |mut counts, made| {
            *counts.entry((made.call.step.to_string(), made.call.phase)).or_default() += 1;
            counts
        })
    }

    /// The steps and phases that were asked with a request that names `id` in quotes, whichever saga asked.
    #[must_use]
    pub fn calls_about(&self, id: &(impl Display + ?Sized)) -> BTreeSet<(String, Phase)> {
        let (state, id) = (locked(&self.state), format!("\"{id}\""));
        let about = state.made.iter().filter(|made| made.call.request.as_str().contains(&id));
        about.map(|made| (made.call.step.to_string(), made.call.phase)).collect()
    }

    /// These calls once more, one after the other, as copies that a network kept back; what each is answered now.
    pub async fn send_again(&self, calls: impl IntoIterator<Item = Made>) -> Vec<(Made, Answer)> {
        let mut answers = Vec::new();
        for made in calls {
            let answer = self.inner.call(made.call.clone()).await;
            match answer {
                Ok(answer) => answers.push((made, answer)),
                Err(error) => self.log.wrong(format!("a copy could not be sent: {error}")),
            }
        }
        answers
    }

    /// A call on its way, and what befalls it.
    fn sending(&self, call: Call) -> (Sending, Option<Fault>) {
        if !self.journal.knows(call.saga, &call.step) {
            self.log.wrong(format!("{} was asked before that was written: a bug of tercet", call.step));
        }
        let (number, numbered, fault) = self.fate(&call);
        let request = if call.phase == Phase::Try { short(&call.request) } else { String::new() };
        self.log.of_call(&numbered, Mark::Plain, format!("asked {request}").trim_end().to_owned());
        (Sending { call, number, numbered, wires: self.clone() }, fault)
    }

    fn fate(&self, call: &Call) -> (usize, Numbered, Option<Fault>) {
        let mut state = locked(&self.state);
        let (saga, step, phase) = (self.log.name(call.saga), call.step.clone(), call.phase);
        let before = state
            .made
            .iter()
            .filter(|made| made.call.saga == call.saga && made.call.step == call.step && made.call.phase == call.phase);
        let nth = 1 + u32::try_from(before.count()).unwrap_or(u32::MAX);
        let numbered = Numbered { saga, step, phase, nth };
        state.made.push(Made { call: call.clone(), answer: None, copies: Vec::new(), numbered: numbered.clone() });
        let number = state.made.len() - 1;
        let befalls = |p: &&mut Planned| p.times != Some(0) && (p.befalls)(call, &numbered);
        let fault = state.planned.iter_mut().find(befalls).map(|planned| {
            planned.times = planned.times.map(|times| times - 1);
            planned.fault.clone()
        });
        (number, numbered, fault)
    }
}

impl Transport for Wires {
    fn call(&self, call: Call) -> Calling {
        let (reply, answer) = oneshot::channel();
        let (wires, busy) = (self.clone(), self.time.busy());
        // A participant is a process of its own: it goes on when the engine's dies.
        tokio::spawn(async move {
            if !wires.journal.knows(call.saga, &call.step) {
                wires.journal.caught_up().await;
            }
            let (sending, fault) = wires.sending(call);
            sending.run(fault, busy, reply).await;
        });
        Box::pin(
            async move { answer.await.unwrap_or_else(|_| Err(CallError::Silent("the connection broke".to_owned()))) },
        )
    }
}

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wires").field("calls", &locked(&self.state).made.len()).finish_non_exhaustive()
    }
}

/// A call on its way.
struct Sending {
    call: Call,
    number: usize,
    numbered: Numbered,
    wires: Wires,
}

type Said = Result<Answer, CallError>;

impl Sending {
    async fn run(self, fault: Option<Fault>, busy: crate::time::Busy, reply: oneshot::Sender<Said>) {
        let _under_way = UnderWay::enter(&self.wires.state);
        if let Some(fault) = &fault {
            self.log(Mark::Fault, fault.words());
        }
        let timeout = self.call.timeout;
        let silent = || Err(CallError::Silent("it was lost".to_owned()));
        match fault {
            None => self.say(reply, self.arrive().await),
            Some(Fault::Answer(answer)) => self.say(reply, Ok(answer)),
            Some(Fault::Double) => {
                let copy = self.wires.inner.call(self.call.clone());
                let (answer, copy) = tokio::join!(self.arrive(), copy);
                self.copied(copy);
                self.say(reply, answer);
            }
            Some(Fault::Repeat) => {
                let answer = self.arrive().await;
                self.copied(self.wires.inner.call(self.call.clone()).await);
                self.say(reply, answer);
            }
            Some(Fault::NoResponder) => {
                self.say(reply, Err(CallError::NoResponder { contract: self.call.contract.to_string() }));
            }
            Some(Fault::Late) => {
                let answer = self.arrive().await;
                let later = self.wires.time.sleep_within(timeout + LATE);
                later.await;
                self.say(reply, answer);
            }
            Some(Fault::LateCall) => {
                let later = self.wires.time.sleep_within(timeout + LATE);
                later.await;
                self.say(reply, self.arrive().await);
            }
            Some(lost @ (Fault::LoseCall | Fault::LoseReply)) => {
                if lost == Fault::LoseReply {
                    drop(self.arrive().await);
                }
                let later = self.wires.time.sleep_within(timeout * LOST);
                later.await;
                drop(reply.send(silent()));
            }
            Some(kill @ (Fault::KillBefore | Fault::KillAfter)) => {
                if kill == Fault::KillAfter {
                    drop(self.arrive().await);
                }
                self.wires.time.crash();
            }
            Some(Fault::Hold(hold)) => {
                let answer = self.arrive().await;
                self.hold(&hold).await;
                self.say(reply, answer);
            }
        }
        // The engine's turn comes before the clock's.
        tokio::task::yield_now().await;
        drop(busy);
    }

    async fn hold(&self, hold: &Hold) {
        match self.wires.journal.armed().get(&(hold.saga.clone(), hold.timer.clone())) {
            Some(due) => {
                let until = hold.edge.of(*due);
                let later = self.wires.time.sleep_within(until.since(self.wires.time.now()));
                later.await;
            }
            None => self.log(Mark::Fault, "that timer is not armed: it is not held back".to_owned()),
        }
    }

    fn log(&self, mark: Mark, text: String) {
        self.wires.log.of_call(&self.numbered, mark, text);
    }

    /// The participant is asked.
    async fn arrive(&self) -> Said {
        let answer = self.wires.inner.call(self.call.clone()).await;
        locked(&self.wires.state).made[self.number].answer = answer.clone().ok();
        self.wires.log.neighbour(&What::Answer(self.numbered.clone()), self.wires.journal.armed());
        match &answer {
            Ok(answer) => self.log(Mark::Plain, said(answer)),
            Err(error) => self.log(Mark::Plain, error.to_string()),
        }
        answer
    }

    fn copied(&self, copy: Said) {
        match copy {
            Ok(answer) => {
                self.log(Mark::Fault, format!("its copy: {}", said(&answer)));
                locked(&self.wires.state).made[self.number].copies.push(answer);
            }
            Err(error) => self.log(Mark::Fault, format!("its copy: {error}")),
        }
    }

    fn say(&self, reply: oneshot::Sender<Said>, said: Said) {
        drop(reply.send(said));
    }
}

/// Counted while a call is on the wires, whatever ends it.
struct UnderWay(Arc<Mutex<State>>);

impl UnderWay {
    fn enter(state: &Arc<Mutex<State>>) -> Self {
        locked(state).under_way += 1;
        Self(state.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        locked(&self.0).under_way -= 1;
    }
}
