//! Who acts in a town: clients that start sagas, users that cancel, operators, the relay of an outbox, and who restarts the engine.

use super::{
    contracts::{Amount, Line, Order, Payment, Refund, Return, TakeStock},
    nodes,
    town::{OLD_PAYMENTS, Town},
    waiters::waits,
    weather::Fault,
    world::{locked, within},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet::{EngineError, engine::Breaker};
use tercet_core::{Action, Choice, DefinitionName, Payload, SagaId, SagaKey, State, StepInstance, StepKind, choices};
use tercet_participant::{
    Database, Outbox,
    database::{Access, Boxed, Tx},
    outbox::{Acknowledged, Completion, Ingress, Relay, Start, Told},
};

/// A participant was found with its breaker open.
pub(crate) const BREAKER_OPEN: &str = "a breaker was open";
/// Calls were found waiting for a participant that had others to answer.
pub(crate) const WAITED_IN_LINE: &str = "calls waited in line";

/// What was acknowledged to clients: by definition and key, the saga.
#[derive(Default)]
pub(crate) struct Acknowledgements(Mutex<BTreeMap<(String, String), SagaId>>);

impl Acknowledgements {
    fn note(&self, town: &Town, definition: &str, key: &str, saga: SagaId) {
        let mut all = locked(&self.0);
        let before = all.insert((definition.to_owned(), key.to_owned()), saga);
        drop(all);
        if before.is_some_and(|before| before != saga) {
            town.world.violate(format!("{definition} {key} was started as {before:?} and as {saga}"));
        }
    }

    pub(crate) fn all(&self) -> BTreeMap<(String, String), SagaId> {
        locked(&self.0).clone()
    }
}

/// Everybody who acts in a run of chance.
pub(crate) fn move_in(town: &Arc<Town>, acknowledged: &Arc<Acknowledgements>) {
    for at in 0..town.world.between(1, 3) {
        orders(town, acknowledged, at);
    }
    for at in 0..town.world.between(0, 3) {
        refunds(town, acknowledged, at);
    }
    for at in 0..town.world.between(0, 2) {
        baskets(town, acknowledged, at);
    }
    act(town, user);
    act(town, operator);
    act(town, watchman);
    act(town, nodes::fate);
    serve(town);
}

/// What goes on whatever the weather: the engine is restarted, outboxes are emptied, accepted takes are reported.
pub(crate) fn serve(town: &Arc<Town>) {
    act(town, nodes::nanny);
    act(town, relay);
    act(town, clerk);
}

fn act<F: Future<Output = ()> + Send + 'static>(town: &Arc<Town>, act: fn(Arc<Town>) -> F) {
    town.world.spawn(town.people, act(town.clone()));
}

// ---- clients

/// A start, until it is acknowledged.
pub(crate) async fn start<T: Serialize>(
    town: &Town, definition: &str, key: &str, input: &T,
) -> Result<SagaId, EngineError> {
    loop {
        let names = (definition.parse::<DefinitionName>(), key.parse::<SagaKey>(), Payload::of(input));
        let (Ok(name), Ok(saga_key), Ok(input)) = names else {
            return Err(EngineError::Bug("a name of the simulator's".to_owned()));
        };
        if let Some(engine) = town.engine() {
            // Nobody waits for ever for a node that stands still: the next one is asked.
            match within(&town.world, Duration::from_secs(20), engine.start(name, None, saga_key, input)).await {
                Some(Ok(started)) => return Ok(started.id),
                None | Some(Err(EngineError::Unavailable(_) | EngineError::Stopped(_))) => {}
                Some(Err(error)) => return Err(error),
            }
        }
        town.world.sleep(Duration::from_millis(town.world.between(50, 1_500))).await;
    }
}

fn client<T: Serialize + Send + Sync + Clone + 'static>(
    town: &Arc<Town>, acknowledged: &Arc<Acknowledgements>, after: u64, definition: &'static str, key: &str, input: &T,
) {
    let copies = 1 + u64::from(town.weather.strikes(Fault::StartDoubled));
    for copy in 0..copies {
        let (this, acknowledged) = (town.clone(), acknowledged.clone());
        let (key, input) = (key.to_owned(), input.clone());
        town.world.spawn(town.people, async move {
            this.world.some_time(after, after + copy * 3_000).await;
            match start(&this, definition, &key, &input).await {
                Ok(saga) => {
                    acknowledged.note(&this, definition, &key, saga);
                    waits(&this, saga);
                    regrets(&this, saga);
                }
                Err(error) => this.world.violate(format!("{definition} {key} does not start: {error}")),
            }
            if this.weather.strikes(Fault::KeyTaken) {
                let other = start(&this, definition, &key, &"something else").await;
                if !matches!(other, Err(EngineError::KeyTaken { .. } | EngineError::BadInput { .. })) {
                    this.world.violate(format!("{definition} {key} was started with another input: {other:?}"));
                }
            }
        });
    }
}

/// A user who changes their mind at once.
fn regrets(town: &Arc<Town>, saga: SagaId) {
    if town.weather.strikes(Fault::CancelAsked) {
        let this = town.clone();
        town.world.spawn(town.people, async move {
            this.world.some_time(0, 8_000).await;
            cancel(&this, saga).await;
        });
    }
}

async fn cancel(town: &Town, saga: SagaId) {
    let Some(engine) = town.engine() else { return };
    let asked = engine.cancel(saga, "user".to_owned(), "changed my mind".to_owned()).await;
    town.world.note(|| format!("a user cancels {saga}: {:?}", asked.map(|_| ())));
}

fn lines(town: &Town) -> Vec<Line> {
    let line = |_| Line { item: 1, pieces: i64::try_from(town.world.between(1, 6)).unwrap_or(1) };
    (0..town.world.between(1, 2)).map(line).collect()
}

fn order_of(town: &Town, order: String) -> Order {
    let minor = i64::try_from(town.world.between(30, 200)).unwrap_or(30);
    Order { order, account: u32::try_from(town.world.between(1, 3)).unwrap_or(1), lines: lines(town), minor }
}

const PAYMENTS: [&str; 3] = ["payment", "payment_closing", "payment_expiring"];
const REFUNDS: [&str; 3] = ["refund", "refund_closing", "refund_expiring"];

fn orders(town: &Arc<Town>, acknowledged: &Arc<Acknowledgements>, at: u64) {
    let world = &town.world;
    let order = order_of(town, format!("order-{at}"));
    let begins = world.between(0, 120_000);
    let payments = 1 + u64::from(town.weather.strikes(Fault::PaidTwice));
    for n in 0..payments {
        let payment = Payment { payment: format!("pay-{at}-{n}"), order: order.order.clone(), minor: order.minor };
        // Now and then before the order, about its limit, or after it.
        let later = if world.chance(0.6) { world.between(0, 120_000) } else { world.between(600_000, 1_000_000) };
        let definition = world.pick(&PAYMENTS).copied().unwrap_or(PAYMENTS[0]);
        client(town, acknowledged, begins + later, definition, &payment.payment, &payment);
    }
    client(town, acknowledged, begins, "order", &order.order, &order);
}

fn refunds(town: &Arc<Town>, acknowledged: &Arc<Acknowledgements>, at: u64) {
    let world = &town.world;
    let payment = world.pick(&OLD_PAYMENTS).copied().unwrap_or(OLD_PAYMENTS[0]).to_owned();
    let request = format!("refund-{at}");
    let minor = i64::try_from(world.between(20, 70)).unwrap_or(20);
    let refund = Refund { payment, request: request.clone(), minor };
    let input = Return { refund, points: Amount { account: 2, minor: 4 }, line: Line { item: 1, pieces: 2 } };
    let definition = world.pick(&REFUNDS).copied().unwrap_or(REFUNDS[0]);
    client(town, acknowledged, world.between(0, 400_000), definition, &request, &input);
}

fn baskets(town: &Arc<Town>, acknowledged: &Arc<Acknowledgements>, at: u64) {
    let (definition, name) = if town.world.chance(0.6) { ("basket", "basket") } else { ("trip", "trip") };
    let key = format!("{name}-{at}");
    let input = order_of(town, key.clone());
    client(town, acknowledged, town.world.between(0, 400_000), definition, &key, &input);
}

// ---- users and operators

async fn user(town: Arc<Town>) {
    loop {
        town.world.some_time(10_000, 90_000).await;
        if !town.weather.strikes(Fault::CancelAsked) {
            continue;
        }
        let sagas: Vec<SagaId> = town.checker.with_states(|states| {
            let theirs = |state: &&State| !state.life.is_ended() && state.definition().as_str() != "give_back";
            states.values().filter(theirs).map(State::saga).collect()
        });
        if let Some(&saga) = town.world.pick(&sagas) {
            cancel(&town, saga).await;
        }
    }
}

async fn operator(town: Arc<Town>) {
    loop {
        town.world.some_time(15_000, 120_000).await;
        if town.weather.strikes(Fault::OperatorActed) {
            operate(&town).await;
        }
    }
}

/// One thing that is offered, about one step, by someone who knows what the bank's ledger says.
async fn operate(town: &Town) {
    let Some(engine) = town.engine() else { return };
    let mut offers: Vec<(SagaId, StepInstance, Action)> = Vec::new();
    town.checker.with_states(|states| {
        for state in states.values() {
            let Some(graph) = engine.registry().get(state.definition(), state.begin.version) else { continue };
            for step in state.steps.keys() {
                let offered = choices(graph, state, step).into_iter();
                offers
                    .extend(offered.filter_map(|c| Some((state.saga(), step.clone(), honest(town, state, step, c)?))));
            }
        }
    });
    let Some((saga, step, action)) = town.world.pick(&offers).cloned() else { return };
    let (by, reason) = ("operator".to_owned(), "looked into it".to_owned());
    let done = engine.operate(saga, step.clone(), action.clone(), by, reason).await;
    town.world.note(|| format!("an operator does {action:?} to {step} of {saga}: {:?}", done.map(|_| ())));
}

/// The action, if a person who knows the facts may take it. A *not done* that is forced is a guess, and is guessed for charges
/// alone: what goes out by mistake cannot be fetched.
fn honest(town: &Town, state: &State, step: &StepInstance, choice: Choice) -> Option<Action> {
    let at = state.step(step)?;
    let key = state.effect_key(step);
    match choice {
        Choice::QueryNow => Some(Action::QueryNow),
        Choice::RetryNow => Some(Action::RetryNow),
        Choice::Close => Some(Action::Close),
        Choice::MarkDone if at.effect.is_some() && town.bank.has_moved(key.as_str()) => {
            let request: BTreeMap<String, serde_json::Value> = at.ask.as_ref()?.request.parse().ok()?;
            // A bank that said no, and paid all the same, is what a person who knows better is there for.
            Some(Action::MarkDone { value: Payload::of(request.get("minor")?).ok()?, force: true })
        }
        // Money that is not ours to keep: nobody settles for *not done*.
        Choice::MarkNotDone if at.kind == StepKind::Pivot && state.definition().as_str() != "give_back" => {
            let force = step.as_str() == "charge" && town.world.now().0 % 3 == 0;
            Some(Action::MarkNotDone { force })
        }
        Choice::MarkDone | Choice::MarkNotDone | Choice::Cancel => None,
    }
}

/// Looks at the participants now and then.
async fn watchman(town: Arc<Town>) {
    loop {
        town.world.some_time(10_000, 60_000).await;
        let Some(engine) = town.engine() else { continue };
        for participant in engine.participants().await.unwrap_or_default() {
            if matches!(participant.breaker, Breaker::Open { .. }) {
                town.world.count(BREAKER_OPEN);
            }
            if participant.breaker == Breaker::Closed && participant.waiting > 0 {
                town.world.count(WAITED_IN_LINE);
            }
        }
    }
}

// ---- what goes on whatever the weather

struct Ways(Arc<Town>);

fn acknowledged<T>(town: &Town, what: &str, told: Result<T, EngineError>) -> Acknowledged {
    match told {
        Ok(_) => Acknowledged::Yes,
        Err(EngineError::Unavailable(why) | EngineError::Stopped(why)) => Acknowledged::Unavailable(why),
        Err(error) => {
            town.world.violate(format!("{what} can never succeed: {error}"));
            Acknowledged::Never(error.to_string())
        }
    }
}

impl Ingress for Ways {
    fn complete(&self, told: Completion) -> Boxed<'_, Acknowledged> {
        Box::pin(async move {
            let Some(engine) = self.0.engine() else { return Acknowledged::Unavailable("no engine".to_owned()) };
            let Completion { saga, step, phase, answer } = told;
            match engine.complete(saga, step, phase, answer).await {
                // A script's call without a saga.
                Err(EngineError::UnknownSaga { .. }) if !self.0.checker.knows(saga) => {
                    Acknowledged::Never("no saga".to_owned())
                }
                told => acknowledged(&self.0, "a completion", told),
            }
        })
    }

    fn start(&self, start: Start) -> Boxed<'_, Acknowledged> {
        Box::pin(async move {
            let Some(engine) = self.0.engine() else { return Acknowledged::Unavailable("no engine".to_owned()) };
            self.0.world.count("late evidence at the participant");
            let Start { definition, key, input } = start;
            acknowledged(&self.0, "a start", engine.start(definition, None, key, input).await)
        })
    }

    fn signal(&self, _: Told) -> Boxed<'_, Acknowledged> {
        Box::pin(async { Acknowledged::Never("no participant of this town tells a saga".to_owned()) })
    }
}

async fn relay(town: Arc<Town>) {
    loop {
        town.world.some_time(2_000, 12_000).await;
        if let Some(process) = town.pay_host.process() {
            let this = town.clone();
            town.world.spawn(process, async move {
                drop(Relay::new(this.pay.clone(), Ways(this.clone())).sweep().await);
            });
        }
        if let Some(process) = town.stock_host.process() {
            let this = town.clone();
            town.world.spawn(process, async move {
                drop(Relay::new(this.stock.clone(), Ways(this.clone())).sweep().await);
            });
        }
    }
}

/// Reports the takes that stock accepted.
async fn clerk(town: Arc<Town>) {
    loop {
        town.world.some_time(5_000, 40_000).await;
        let open = town.stock.try_look(|stock| !stock.open.is_empty());
        if let (Some(process), Some(true)) = (town.stock_host.process(), open) {
            town.world.spawn(process, report(town.clone()));
        }
    }
}

async fn report(town: Arc<Town>) {
    let Ok(tx) = town.stock.begin(Access::Write).await else { return };
    let open = tx.with(|stock| std::mem::take(&mut stock.open));
    let mut reported = Ok(());
    for (ticket, pieces) in open {
        let told = tx.complete::<TakeStock>(&ticket, Ok(pieces), town.world.now()).await;
        reported = reported.and(told.map(drop));
    }
    let ended = if reported.is_ok() { tx.commit().await } else { tx.rollback().await };
    drop(ended);
}
