//! The network between engine and participants: messages lost, doubled, late, out of order, and nobody there.

use super::{
    check::Checker,
    nodes::Link,
    town::Town,
    weather::{Fault, Weather},
    world::{Process, World, locked},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tercet::transport::{CallError, Calling, Transport};
use tercet_core::{Answer, Call, Participant};
use tokio::sync::oneshot;

/// A participant's process: it can die, and comes back on the same database.
pub(crate) struct Host {
    world: Arc<World>,
    pub(crate) name: &'static str,
    process: Mutex<Option<Process>>,
}

impl Host {
    pub(crate) fn new(world: &Arc<World>, name: &'static str) -> Arc<Self> {
        let process = Mutex::new(Some(world.process()));
        Arc::new(Self { world: world.clone(), name, process })
    }

    /// The process that answers now, if one does.
    pub(crate) fn process(&self) -> Option<Process> {
        *locked(&self.process)
    }

    /// Dies now; is back after a while.
    pub(crate) fn crash(self: &Arc<Self>, elsewhere: Process) {
        let Some(process) = locked(&self.process).take() else { return };
        self.world.kill(process);
        let this = self.clone();
        self.world.spawn(elsewhere, async move {
            this.world.some_time(100, 8_000).await;
            let process = this.world.process();
            *locked(&this.process) = Some(process);
        });
    }
}

/// Participants by contract, and the way to them.
pub(crate) struct Net {
    pub(crate) world: Arc<World>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) checker: Arc<Checker>,
    pub(crate) wires: Process,
    pub(crate) participants: BTreeMap<String, (Arc<dyn Participant>, Arc<Host>)>,
    /// The town, to which it belongs.
    pub(crate) town: Weak<Town>,
}

type Home = Arc<Mutex<Option<oneshot::Sender<Result<Answer, CallError>>>>>;

impl Net {
    /// One copy of a call on its way, and its answer on its way back.
    async fn carry(self: Arc<Self>, call: Call, answer_to: Home) {
        self.travel(Fault::CallLate, &call).await;
        if self.weather.strikes(Fault::CallVeryLate) {
            self.world.some_time(30_000, 900_000).await;
        }
        let Some((participant, host)) = self.participants.get(call.contract.as_str()).cloned() else { return };
        // Whoever died while the message was on its way says nothing.
        let Some(process) = host.process() else { return };
        let this = self.clone();
        self.world.spawn(process, async move {
            this.world.note(|| format!("{} gets {}", host.name, line(&call)));
            let answer = participant.call(call.clone()).await;
            this.world.note(|| format!("{} answers {}: {answer:?}", host.name, line(&call)));
            if this.weather.strikes(Fault::ReplyLost) {
                return;
            }
            let net = this.clone();
            this.world.spawn(this.wires, async move {
                net.travel(Fault::ReplyLate, &call).await;
                net.reply(&answer_to, Ok(answer));
            });
        });
    }

    /// Somebody is there as the call leaves; otherwise nothing is sent.
    fn answers(&self, call: &Call) -> bool {
        let host = self.participants.get(call.contract.as_str()).map(|(_, host)| host);
        host.is_some_and(|host| host.process().is_some()) && !self.weather.strikes(Fault::NobodyThere)
    }

    async fn travel(&self, late: Fault, call: &Call) {
        let timeout = u64::try_from(call.timeout.as_millis()).unwrap_or(1_000);
        if self.weather.strikes(late) {
            self.world.some_time(timeout / 2, timeout * 3).await;
        } else {
            self.world.some_time(0, 20).await;
        }
    }

    fn reply(&self, to: &Home, answer: Result<Answer, CallError>) {
        if let Some(to) = locked(to).take() {
            drop(to.send(answer));
        }
    }
}

/// The transport as one engine sees it.
pub(crate) struct Wire {
    pub(crate) net: Arc<Net>,
    pub(crate) engine: Process,
    pub(crate) link: Arc<Link>,
}

impl Transport for Wire {
    fn call(&self, call: Call) -> Calling {
        let net = &self.net;
        net.world.note(|| format!("engine {:?} calls {}", self.engine, line(&call)));
        let town = net.town.upgrade();
        let stale = town.is_some_and(|town| town.is_stale(self.engine, &self.link, call.saga));
        net.checker.called(&call, stale);
        let (sender, answer) = oneshot::channel();
        let home: Home = Arc::new(Mutex::new(Some(sender)));
        if !net.answers(&call) {
            let contract = call.contract.to_string();
            return Box::pin(std::future::ready(Err(CallError::NoResponder { contract })));
        }
        let lost = net.weather.strikes(Fault::CallLost);
        let copies = if lost { 0 } else { 1 + u8::from(net.weather.strikes(Fault::CallDoubled)) };
        for _ in 0..copies {
            net.world.spawn(net.wires, net.clone().carry(call.clone(), home.clone()));
        }
        let world = net.world.clone();
        Box::pin(async move {
            // A message that is lost makes no sound: its sender waits, and not for ever.
            let _kept = home;
            let answered = super::world::within(&world, Duration::from_secs(1_800), answer).await;
            match answered {
                Some(Ok(answer)) => answer,
                Some(Err(_)) | None => Err(CallError::Silent("no answer, ever".to_owned())),
            }
        })
    }
}

pub(crate) fn line(call: &Call) -> String {
    format!("{} {} {} #{} of {}", call.contract, call.phase, call.step, call.attempt, call.saga)
}
