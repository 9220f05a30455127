//! Reads a script, runs the decider on it, and writes down what followed, a line for each entry.

use std::{fmt::Write as _, time::Duration};
use tercet_core::{
    Action, Answer, Answered, Command, Definition, Delivery, Entry, Event, Fact, Graph, Millis, Operated, Operation,
    Payload, Phase, SagaId, Sender, ShardId, Signal, SignalId, Signalled, Starting, State, StepInstance, Timer, What,
    apply, choices, decide, deliveries,
    entry::{Abort, Ask, Evidence, Parked, Target},
    kind, outstanding, start,
};

macro_rules! operations { ($($op:ident $name:literal $kind:ident $(($($flag:tt)+))?;)+) => { $(
    pub(crate) struct $op;
    impl Operation for $op {
        const NAME: &'static str = $name;
        type Kind = kind::$kind;
        type Request = i64;
        type Reply = i64;
        $($($flag)+)?
    }
)+ } }

operations! {
    Hold "bank.hold/1" Tcc;
    Book "hotel.book/1" Compensable;
    Pay "bank.pay/1" Pivot;
    PayClosing "bank.pay_closing/1" Pivot (const CLOSES: bool = true;);
    PayLink "bank.pay_link/1" Pivot (const EXPIRES_AFTER: Option<Duration> = Some(tercet_core::minutes(5)););
    PayBlind "bank.pay_blind/1" Pivot (const QUERIES: bool = false;);
    Wire "bank.wire/1" External;
    Tell "push.tell/1" Retriable;
    Price "shop.price/1" Read;
}

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub(crate) struct Paid(pub(crate) i64);
impl Signal for Paid {
    const NAME: &'static str = "bank.paid/1";
}

pub(crate) fn it(value: i64) -> i64 {
    value
}

pub(crate) fn saga_id() -> SagaId {
    SagaId::from_parts(1_700_000_000_000, [7; 10], ShardId::new(0).unwrap())
}

/// One saga under a script.
///
/// A line is one event; `+60` in front lets so many seconds pass. Numbers behind a phase: `#2` the attempt answered, `*3` how many
/// were made. `issued=60` says when the answered call was made (else now).
///
/// ```text
/// hold try done 5            hold try*2 refused no_stock    money try#2 retry busy     money query absent
/// money try silent           hold try exhausted             hold confirm struggling    money close closed
/// wake paid                  deadline                       cancel                     poisoned
/// tell paid s1 7             tell-from paid s1 7            op money retry|query|close|done 5|force_done 5|not_done|force
/// ```
pub(crate) struct Script<'g> {
    graph: &'g Graph,
    state: Option<State>,
    journal: Vec<Entry>,
    now: i64,
    out: String,
}

/// Runs `script` on a saga of `definition` that is started with 7.
pub(crate) fn run(definition: Definition<i64, i64>, script: &str) -> String {
    let graph = definition.build().unwrap();
    let mut run = Script { graph: &graph, state: None, journal: Vec::new(), now: 0, out: String::new() };
    run.start(None);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        run.line(line);
    }
    run.out
}

impl Script<'_> {
    fn start(&mut self, parent: Option<Sender>) {
        let starting = Starting {
            saga: saga_id(),
            key: "k".parse().unwrap(),
            input: Payload::of(&7).unwrap(),
            parent,
            undoes: false,
            at: Millis(0),
        };
        let entry = start(self.graph, starting).unwrap();
        self.state = Some(State::begin(&entry).unwrap());
        self.write("start", entry);
    }

    fn state(&self) -> &State {
        self.state.as_ref().unwrap()
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split(' ').filter(|w| !w.is_empty()).peekable();
        if let Some(wait) = words.next_if(|w| w.starts_with('+')) {
            self.now += wait[1..].parse::<i64>().unwrap() * 1000;
        }
        let words: Vec<&str> = words.collect();
        let what = self.parse(&words);
        let event = Event { at: Millis(self.now), jitter: u16::MAX, what };
        match decide(self.graph, self.state(), event.clone()) {
            Ok(Some(entry)) => {
                let mut state = self.state.take().unwrap();
                apply(&mut state, &entry);
                self.state = Some(state);
                self.write(line, entry);
                if !matches!(event.what, What::Operated(_)) {
                    let again = decide(self.graph, self.state(), event);
                    assert_eq!(again, Ok(None), "the same event once more yields no entry: {line}\n{}", self.out);
                }
            }
            Ok(None) => writeln!(self.out, "{line}: nothing").unwrap(),
            Err(illegal) => writeln!(self.out, "{line}: illegal: {illegal}").unwrap(),
        }
    }

    fn parse(&self, words: &[&str]) -> What {
        let text = |from: usize| words.get(from..).unwrap_or_default().join(" ");
        match *words {
            ["deadline"] => What::TimerFired(Timer::Deadline),
            ["wake", step] => What::TimerFired(Timer::Step(step.parse().unwrap())),
            ["cancel"] => What::CancelRequested { by: "ann".into(), reason: "changed her mind".into() },
            ["poisoned"] => What::Poisoned { why: "index out of bounds".into() },
            [tell @ ("tell" | "tell-from"), name, id, payload] => What::Signalled(Signalled {
                id: id.parse::<SignalId>().unwrap(),
                name: format!("bank.{name}/1"),
                payload: json(payload),
                from: (tell == "tell-from").then(|| Sender { saga: saga_id(), step: "told".parse().unwrap() }),
            }),
            ["op", step, action, ..] => What::Operated(Operated {
                step: step.parse().unwrap(),
                action: match action {
                    "retry" => Action::RetryNow,
                    "query" => Action::QueryNow,
                    "close" => Action::Close,
                    "done" => Action::MarkDone { value: json(&text(3)), force: false },
                    "force_done" => Action::MarkDone { value: json(&text(3)), force: true },
                    "not_done" => Action::MarkNotDone { force: false },
                    "force" => Action::MarkNotDone { force: true },
                    other => panic!("{other}"),
                },
                by: "bob".into(),
                reason: "looked".into(),
            }),
            [step, call, ref answer @ ..] => self.call(step.parse().unwrap(), call, answer),
            _ => panic!("{words:?}"),
        }
    }

    fn call(&self, step: StepInstance, call: &str, answer: &[&str]) -> What {
        let (call, attempts) = call.split_once('*').map_or((call, 1), |(c, n)| (c, n.parse().unwrap()));
        let newest = self.state().step(&step).and_then(|at| Some(at.effect.as_ref()?.newest())).unwrap_or(1);
        let (call, attempt) = call.split_once('#').map_or((call, newest), |(c, n)| (c, n.parse().unwrap()));
        let phase = match call {
            "try" => Phase::Try,
            "confirm" => Phase::Confirm,
            "undo" => Phase::Cancel,
            "query" => Phase::Query,
            "close" => Phase::Close,
            other => panic!("{other}"),
        };
        let (answer, issued) = match answer {
            [answer @ .., last] if last.starts_with("issued=") => (answer, last[7..].parse::<i64>().unwrap() * 1000),
            answer => (answer, self.now),
        };
        let why = "no answer in time".to_owned();
        let answer = match *answer {
            ["silent"] => return What::Silent { step, phase, attempt, why },
            ["exhausted"] => return What::Exhausted { step, attempts, why },
            ["struggling"] => return What::Struggling { step, phase, attempts, why },
            ["done"] => Answer::Done(Payload::null()),
            ["done", value] => Answer::Done(json(value)),
            ["refused", code] => Answer::refused(code, "no"),
            ["retry", why] => Answer::retry(why),
            ["retry", why, after] => {
                Answer::Retry { after: Some(Duration::from_secs(after.parse().unwrap())), reason: why.into() }
            }
            ["pending", note] => Answer::Pending(json(note)),
            ["absent"] => Answer::Absent,
            ["closed"] => Answer::Closed,
            ["expired"] => Answer::Expired,
            ref other => panic!("{other:?}"),
        };
        let attempts = attempts.max(attempt);
        What::Answered(Answered { step, phase, attempt, attempts, issued: Millis(issued), answer })
    }

    /// Writes down what followed, and checks what holds always.
    fn write(&mut self, line: &str, entry: Entry) {
        let facts: Vec<_> = entry.facts.iter().map(fact).collect();
        writeln!(self.out, "{line}: {}", facts.join("; ")).unwrap();
        for delivery in deliveries(self.state(), &entry) {
            writeln!(self.out, "    sends {}", sent(&delivery)).unwrap();
        }
        let commands: Vec<_> = outstanding(self.state()).iter().map(command).collect();
        if !commands.is_empty() {
            writeln!(self.out, "    {}", commands.join(", ")).unwrap();
        }
        self.journal.push(entry);
        self.check();
    }

    fn check(&mut self) {
        let journal: Vec<String> = self.journal.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
        let mut entries = journal.iter().map(|row| serde_json::from_str::<Entry>(row).unwrap());
        let mut folded = State::begin(&entries.next().unwrap()).unwrap();
        entries.for_each(|entry| apply(&mut folded, &entry));
        assert_eq!(&folded, self.state(), "the journal folds to the state");
        for command in outstanding(self.state()) {
            if let Command::Call(call) = &command {
                let at = self.state().step(&call.step).unwrap();
                assert_eq!(at.parked, None, "a parked step is not asked: {command:?}");
            }
        }
        for (step, _) in self.state().parked() {
            assert_ne!(choices(self.graph, self.state(), step), [], "a parked step offers something: {step}");
        }
    }
}

fn json(text: &str) -> Payload {
    Payload::from_bytes(text.as_bytes()).unwrap()
}

fn seconds(at: Millis) -> String {
    if at.0 % 1000 == 0 { format!("{}s", at.0 / 1000) } else { format!("{}ms", at.0) }
}

fn next(at: &Option<Millis>) -> String {
    at.map(|at| format!(" until {}", seconds(at))).unwrap_or_default()
}

fn ask(ask: &Ask) -> String {
    let key = ask.key.as_ref().map(|key| format!(" key={key}")).unwrap_or_default();
    let expires = ask.expires.map(|at| format!(" expires={}", seconds(at))).unwrap_or_default();
    let target = match &ask.target {
        Target::Operation(_) => String::new(),
        Target::Signal { signal, definition, key } => format!(" {signal} to {definition}/{key}"),
        Target::Saga { definition, version, key } => {
            format!(" saga {definition}@{version}/{}", key.as_str().replace(&saga_id().to_string(), "me"))
        }
    };
    format!("{}{key}{expires}{target}", ask.request.as_str())
}

fn abort(why: &Abort) -> String {
    why.to_string()
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Started(begin) => format!("begins{}", next(&begin.deadline)),
        Fact::Asked { step, ask: a } => format!("asks {step} {}", ask(a)),
        Fact::Attempted { step, attempt } => format!("asks {step}#{attempt}"),
        Fact::Done { step, reply } => format!("{step} done {}", reply.as_str()),
        Fact::Refused { step, refusal, repeated } => {
            format!("{step} refused {}{}", refusal.code, if *repeated { " (repeated)" } else { "" })
        }
        Fact::Pending { step, note, next: n, .. } => format!("{step} pending {}{}", note.as_str(), next(n)),
        Fact::Unknown { step, next: n, .. } => format!("{step} unknown{}", next(n)),
        Fact::NotNow { step, attempt, next: n, .. } => format!("{step}#{attempt} not now{}", next(n)),
        Fact::Doubted { step, attempt, next: n, .. } => format!("{step}#{attempt} refusal doubted{}", next(n)),
        Fact::Queried { step, answer, next: n } => format!("{step} queried: {answer}{}", next(n)),
        Fact::Closing { step, next: n, .. } => format!("closes {step}{}", next(n)),
        Fact::Fencing { step } => format!("fences {step}"),
        Fact::Forced { step, next: n } => format!("{step} forced{}", next(n)),
        Fact::Settled { step } => format!("{step} settled"),
        Fact::GaveUp { step, attempts, .. } => format!("{step} given up after {attempts}"),
        Fact::Waiting { step, until, .. } => format!("{step} waits until {}", seconds(*until)),
        Fact::Took { step, signal } => format!("{step} takes {signal}"),
        Fact::Missed { step } => format!("{step} missed"),
        Fact::Branched { step, taken } => format!("{step} {}", if *taken { "taken" } else { "not taken" }),
        Fact::FannedOut { step, items } => {
            format!("{step} fans out [{}]", items.iter().map(Payload::as_str).collect::<Vec<_>>().join(","))
        }
        Fact::Dropped { step } => format!("drops {step}"),
        Fact::Received { id, payload, .. } => format!("receives {id} {}", payload.as_str()),
        Fact::Judged { id, verdict } => format!("{id} {verdict:?}"),
        Fact::AbortWanted { why } => format!("abort wanted: {}", abort(why)),
        Fact::Committed => "COMMIT".into(),
        Fact::Aborted { why } => format!("ABORT: {}", abort(why)),
        Fact::Confirmed { step } => format!("{step} confirmed"),
        Fact::Undoing { step, by } => {
            format!("undoes {step}{}", by.as_ref().map(|by| format!(" by {}", ask(by))).unwrap_or_default())
        }
        Fact::Undone { step } => format!("{step} undone"),
        Fact::Parked { step, why } => format!("PARKS {step}: {}", parked(why)),
        Fact::Resumed { step } => format!("resumes {step}"),
        Fact::Flagged { step, .. } => format!("flags {step}"),
        Fact::Contradicted { step, evidence, undo } => {
            let evidence = match evidence {
                Evidence::Done(reply) => format!("done {}", reply.as_str()),
                Evidence::NotDone(refusal) => format!("not done {}", refusal.code),
            };
            format!(
                "CONTRADICTED {step} {evidence}{}",
                undo.as_ref().map_or_else(String::new, |u| format!(" undo {}", ask(u)))
            )
        }
        Fact::Operated { step, action, by, .. } => format!("{by} {action:?} {step}"),
        Fact::EndedConfirmed { output } => format!("CONFIRMED {}", output.as_str()),
        Fact::EndedCancelled => "CANCELLED".into(),
    }
}

fn parked(why: &Parked) -> String {
    why.to_string()
}

fn command(command: &Command) -> String {
    match command {
        Command::Call(call) => {
            let attempt = if call.attempt > 0 { format!("#{}", call.attempt) } else { String::new() };
            let when = if call.not_before.0 > 0 { format!(" at {}", seconds(call.not_before)) } else { String::new() };
            let reply = call.reply.as_ref().map(|reply| format!(" reply {}", reply.as_str())).unwrap_or_default();
            let pending = if call.pending { " (pending)" } else { "" };
            let fence = if call.fence { " fencing" } else { "" };
            let phase = if call.phase == Phase::Cancel { "undo" } else { call.phase.as_str() };
            format!("{phase} {}{attempt}{when}{fence}{reply}{pending}", call.step)
        }
        Command::Tell { step, payload, .. } => format!("tell {step} {}", payload.as_str()),
        Command::Wake { timer: Timer::Deadline, at } => format!("deadline at {}", seconds(*at)),
        Command::Wake { timer: Timer::Step(step), at } => format!("wake {step} at {}", seconds(*at)),
    }
}

fn sent(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Start { parent, undoes, ask: a } => {
            let role = match (parent, undoes) {
                (Some(_), false) => "a child",
                (Some(_), true) => "an undo",
                (None, _) => "a taking back",
            };
            format!("{role}: {}", ask(a))
        }
        Delivery::CancelChild { .. } => "a cancel to its child".into(),
        Delivery::Judge { verdict, .. } => format!("a verdict: {verdict:?}"),
        Delivery::Report { answer, .. } => format!("its parent: {answer:?}"),
    }
}
