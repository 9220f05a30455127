//! A model of what surrounds a saga: it answers what is outstanding, with faults, and watches the laws.

use crate::support::saga_id;
use std::collections::{BTreeMap, BTreeSet};
use tercet_core::{
    Action, Answer, Answered, Choice, Command, Delivery, Entry, Event, Fact, Graph, IdempotencyKey, Life, Millis,
    Operated, Payload, Phase, SignalId, Signalled, Starting, State, Status, StepInstance, StepKind, Verdict, What,
    apply, choices, decide, definition::Part, deliveries, entry::Evidence, outstanding, start,
};

pub(crate) struct World<'g> {
    graph: &'g Graph,
    state: State,
    /// The fold of the journal as it comes back from JSON.
    folded: State,
    now: i64,
    numbers: u64,
    /// Events that happened, and may come again.
    past: Vec<Event>,
    /// Children and undo sagas under way: the parent's step, and the phase that their end answers.
    running: BTreeSet<(StepInstance, Phase)>,
    verdicts: BTreeMap<SignalId, Verdict>,
    /// The key of each effect, as it was when it was first asked.
    keys: BTreeMap<StepInstance, IdempotencyKey>,
    decisions: u32,
    ends: u32,
    contradictions: BTreeSet<(StepInstance, bool)>,
    log: Vec<String>,
    /// The kinds of fact that there were.
    pub(crate) met: BTreeSet<String>,
}

impl<'g> World<'g> {
    pub(crate) fn new(graph: &'g Graph, seed: u64) -> Self {
        let starting = Starting {
            saga: saga_id(),
            key: "k".parse().unwrap(),
            input: Payload::of(&7).unwrap(),
            parent: None,
            undoes: false,
            at: Millis(0),
        };
        let entry = start(graph, starting).unwrap();
        let state = State::begin(&entry).unwrap();
        let folded = State::begin(&through_json(&entry)).unwrap();
        let mut world = Self {
            graph,
            state,
            folded,
            now: 0,
            numbers: seed,
            past: Vec::new(),
            running: BTreeSet::new(),
            verdicts: BTreeMap::new(),
            keys: BTreeMap::new(),
            decisions: 0,
            ends: 0,
            contradictions: BTreeSet::new(),
            log: Vec::new(),
            met: BTreeSet::new(),
        };
        world.watch(&entry);
        world
    }

    /// SplitMix64: the same numbers from a seed on every machine.
    fn below(&mut self, limit: u64) -> u64 {
        self.numbers = self.numbers.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.numbers;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        let at = self.below(of.len() as u64);
        of[usize::try_from(at).unwrap()].clone()
    }

    /// One event out of a faulty world. Some are lost before they happen.
    pub(crate) fn something_happens(&mut self) {
        let commands = outstanding(&self.state);
        match self.below(20) {
            0 => self.again(),
            1 if self.below(6) == 0 => {
                self.happens(What::CancelRequested { by: "ann".into(), reason: "why not".into() });
            }
            2 => self.is_told(),
            3 | 4 => self.a_person_acts(),
            5 if self.below(8) == 0 => self.happens(What::Poisoned { why: "a bug".into() }),
            6 | 7 => self.a_saga_ends(),
            8 => self.now += 30_000,
            _ if commands.is_empty() => self.a_saga_ends(),
            _ => {
                let command = self.one_of(&commands);
                self.answer(&command);
            }
        }
    }

    /// A copy of something that happened before arrives late.
    fn again(&mut self) {
        if self.past.is_empty() {
            return;
        }
        let past = self.past.clone();
        let event = self.one_of(&past);
        self.decide(Event { at: Millis(self.now), ..event });
    }

    fn is_told(&mut self) {
        let number = self.below(4);
        let name = self.one_of(&["bank.paid/1", "bank.unheard/1"]);
        let signalled = Signalled {
            id: format!("s{number}").parse().unwrap(),
            name: name.into(),
            payload: Payload::of(&number).unwrap(),
            from: None,
        };
        self.happens(What::Signalled(signalled));
    }

    fn a_person_acts(&mut self) {
        let steps: Vec<StepInstance> = self.state.steps.keys().cloned().collect();
        if steps.is_empty() {
            return;
        }
        let step = self.one_of(&steps);
        let offered = choices(self.graph, &self.state, &step);
        if !offered.is_empty() {
            let choice = self.one_of(&offered);
            let force = self.below(4) == 0;
            self.acts(step, choice, force);
        }
    }

    fn acts(&mut self, step: StepInstance, choice: Choice, force: bool) {
        let is_signal = self.graph.node(&step).is_some_and(|node| node.kind() == StepKind::Signal);
        let value = if is_signal { Payload::of("accepted") } else { Payload::of(&1) };
        let action = match choice {
            Choice::QueryNow => Action::QueryNow,
            Choice::RetryNow => Action::RetryNow,
            Choice::Close => Action::Close,
            Choice::MarkDone => Action::MarkDone { value: value.unwrap(), force: true },
            Choice::MarkNotDone => Action::MarkNotDone { force },
            Choice::Cancel => {
                return self.happens(What::CancelRequested { by: "bob".into(), reason: "looked".into() });
            }
        };
        self.happens(What::Operated(Operated { step, action, by: "bob".into(), reason: "looked".into() }));
    }

    /// A child or an undo saga ends, well or not.
    fn a_saga_ends(&mut self) {
        let running: Vec<_> = self.running.iter().cloned().collect();
        if running.is_empty() {
            return;
        }
        let (step, phase) = self.one_of(&running);
        let answer = if self.below(3) > 0 { number(50) } else { Answer::refused("cancelled", "no") };
        self.saga_ends(step, phase, answer);
    }

    fn saga_ends(&mut self, step: StepInstance, phase: Phase, answer: Answer) {
        self.running.remove(&(step.clone(), phase));
        let answered = Answered { step, phase, attempt: 1, attempts: 1, issued: Millis(self.now), answer };
        self.happens(What::Answered(answered));
    }

    fn answer(&mut self, command: &Command) {
        match command {
            Command::Wake { timer, at } => {
                if self.below(8) > 0 {
                    self.now = self.now.max(at.0);
                }
                self.happens(What::TimerFired(timer.clone()));
            }
            Command::Tell { step, .. } => {
                let answer = match self.below(4) {
                    0 => Answer::Pending(Payload::null()),
                    1 => Answer::Done(Payload::of("too_late").unwrap()),
                    2 => Answer::Done(Payload::of("accepted").unwrap()),
                    _ => {
                        let why = "nobody knows it".to_owned();
                        return self.happens(What::Exhausted { step: step.clone(), attempts: 12, why });
                    }
                };
                let step = step.clone();
                let issued = Millis(self.now);
                self.happens(What::Answered(Answered {
                    step,
                    phase: Phase::Try,
                    attempt: 1,
                    attempts: 1,
                    issued,
                    answer,
                }));
            }
            Command::Call(call) => {
                self.now = self.now.max(call.not_before.0) + i64::try_from(self.below(3000)).unwrap();
                let is_effect = self.state.step(&call.step).is_some_and(|at| at.effect.is_some());
                if is_effect { self.answer_effect(call) } else { self.answer_repeatable(call) }
            }
        }
    }

    fn answer_repeatable(&mut self, call: &tercet_core::command::Call) {
        let attempts = u32::try_from(1 + self.below(3)).unwrap();
        let (step, phase, why) = (call.step.clone(), call.phase, "silence".to_owned());
        let value = i64::try_from(self.below(50)).unwrap();
        let answer = match self.below(20) {
            0 => Answer::refused("no", "no"),
            1 => Answer::Pending(Payload::of(&value).unwrap()),
            2 => return self.happens(What::Struggling { step, phase, attempts: 9, why }),
            3 if phase == Phase::Try => return self.happens(What::Exhausted { step, attempts: 12, why }),
            4 => return,
            _ => number(value),
        };
        let issued = Millis(self.now);
        self.happens(What::Answered(Answered { step, phase, attempt: 1, attempts, issued, answer }));
    }

    fn answer_effect(&mut self, call: &tercet_core::command::Call) {
        let answer = match (call.phase, self.below(10)) {
            (_, 0..3) => {
                let (step, phase, attempt) = (call.step.clone(), call.phase, call.attempt);
                return self.happens(What::Silent { step, phase, attempt, why: "silence".into() });
            }
            (_, 3) => Answer::retry("busy"),
            (_, 4) => number(70),
            (Phase::Try | Phase::Query, 5) => Answer::refused("empty", "no"),
            (Phase::Try | Phase::Query, 6) => Answer::Pending(Payload::of("https://pay").unwrap()),
            (Phase::Try, 7) => Answer::Expired,
            (Phase::Query, _) => Answer::Absent,
            (Phase::Close, 5) => Answer::Closed,
            (Phase::Try, 8) => Answer::Closed,
            (Phase::Close, 6) => Answer::Expired,
            _ => return,
        };
        self.answers(call, answer);
    }

    fn answers(&mut self, call: &tercet_core::command::Call, answer: Answer) {
        let (step, phase) = (call.step.clone(), call.phase);
        let attempt = call.attempt.max(1);
        let answered = Answered { step, phase, attempt, attempts: attempt, issued: Millis(self.now), answer };
        self.happens(What::Answered(answered));
    }

    fn happens(&mut self, what: What) {
        let jitter = u16::try_from(self.below(65536)).unwrap();
        let event = Event { at: Millis(self.now), jitter, what };
        if !matches!(event.what, What::Operated(_) | What::Poisoned { .. }) {
            self.past.push(event.clone());
        }
        self.decide(event);
    }

    fn decide(&mut self, event: Event) {
        self.log.push(format!("{:?} {:?}", event.at, event.what));
        let entry = match decide(self.graph, &self.state, event.clone()) {
            Ok(None) => return,
            Ok(Some(entry)) => entry,
            Err(illegal) => panic!("{illegal}\n{}", self.history()),
        };
        assert!(entry.at >= self.state.at, "time went back\n{}", self.history());
        self.log.push(format!("    {:?}", entry.facts));
        let mut so_far = self.state.clone();
        for fact in &entry.facts {
            self.undone_in_order(&so_far, fact);
            self.never_guessed(&so_far, fact, &event.what);
            apply(&mut so_far, &Entry { facts: vec![fact.clone()], ..entry.clone() });
        }
        apply(&mut self.state, &entry);
        apply(&mut self.folded, &through_json(&entry));
        self.watch(&entry);
        if !matches!(event.what, What::Operated(_)) {
            let again = decide(self.graph, &self.state, event);
            assert_eq!(again, Ok(None), "the same once more is no entry\n{}", self.history());
        }
    }

    fn history(&self) -> String {
        let line = |step: &tercet_core::definition::StepDescription| {
            let (name, kind, within) = (&step.name, step.kind, &step.within);
            format!("{name} {kind} within {within:?} reads {:?} after {:?}", step.reads, step.after)
        };
        let steps: Vec<_> = self.graph.describe().steps.iter().map(line).collect();
        format!("{}\n{}", steps.join("\n"), self.log.join("\n"))
    }

    /// What must hold after every entry.
    fn watch(&mut self, entry: &Entry) {
        assert_eq!(self.folded, self.state, "the journal folds to the state\n{}", self.history());
        for delivery in deliveries(&self.state, entry) {
            if let Delivery::Start { parent: Some(parent), undoes, .. } = delivery {
                self.running.insert((parent.step, if undoes { Phase::Cancel } else { Phase::Try }));
            }
        }
        for fact in &entry.facts {
            let text = format!("{fact:?}");
            self.met.extend(text.split([' ', '(']).next().map(str::to_owned));
            match fact {
                Fact::Committed | Fact::Aborted { .. } => self.decisions += 1,
                Fact::EndedConfirmed { .. } | Fact::EndedCancelled => self.ends += 1,
                Fact::Contradicted { step, evidence, .. } => {
                    let direction = matches!(evidence, Evidence::Done(_));
                    let first = self.contradictions.insert((step.clone(), direction));
                    assert!(first, "contradicted twice: {step}\n{}", self.history());
                }
                _ => {}
            }
        }
        assert!(self.decisions <= 1 && self.ends <= 1, "one decision, one end\n{}", self.history());
        for (id, signal) in &self.state.signals {
            if let Some(verdict) = self.verdicts.get(id) {
                assert_eq!(signal.verdict, Some(*verdict), "a verdict changed");
            }
            if let Some(verdict) = signal.verdict {
                self.verdicts.insert(id.clone(), verdict);
            }
        }
        self.watch_commands();
        for (step, _) in self.state.parked() {
            let offered = choices(self.graph, &self.state, step);
            assert_ne!(offered, [], "nothing is offered for {step}\n{}", self.history());
        }
    }

    fn watch_commands(&mut self) {
        for command in outstanding(&self.state) {
            let Command::Call(call) = command else { continue };
            let key = self.keys.entry(call.step.clone()).or_insert_with(|| call.key.clone()).clone();
            assert_eq!(key, call.key, "one key for ever: {}\n{}", call.step, self.history());
            let at = self.state.step(&call.step).unwrap();
            assert_eq!(at.parked, None, "a parked step is not asked\n{}", self.history());
            let part = self.graph.node(&call.step).unwrap().part();
            let fits = match call.phase {
                Phase::Confirm => self.state.life == Life::Confirming,
                Phase::Cancel => self.state.life == Life::Cancelling,
                Phase::Try => (self.state.life == Life::Trying) == (part == Part::Trying),
                _ => true,
            };
            assert!(fits, "{} of {} in {:?}\n{}", call.phase, call.step, self.state.life, self.history());
        }
    }

    /// Money that may have moved is *not done* by a definite word alone, or a person's; and nothing aborts while it is out.
    fn never_guessed(&self, state: &State, fact: &Fact, what: &What) {
        let is_out = |step: &StepInstance| {
            let at = state.step(step).filter(|at| at.status == Status::Asked);
            at.and_then(|at| at.effect.as_ref()).is_some_and(|effect| effect.is_out())
        };
        let word = match what {
            What::Operated(_) => true,
            What::Answered(answered) => match answered.answer {
                Answer::Refused(_) | Answer::Closed | Answer::Absent => true,
                Answer::Retry { .. } => answered.phase == Phase::Try,
                _ => false,
            },
            _ => false,
        };
        match fact {
            Fact::Refused { step, .. } => assert!(word || !is_out(step), "{step} is guessed\n{}", self.history()),
            Fact::Aborted { .. } => {
                let out = state.steps.keys().find(|step| is_out(step));
                assert_eq!(out, None, "it aborts with money out\n{}", self.history());
            }
            _ => {}
        }
    }

    /// Nothing that leans on a step may be left to undo when the step is undone.
    fn undone_in_order(&self, state: &State, fact: &Fact) {
        let Fact::Undoing { step, .. } = fact else { return };
        let described = self.graph.describe();
        let leans = described.steps.iter().filter(|other| {
            let reads = other.reads.iter().filter_map(|read| read.step());
            other.part == Part::Trying && reads.chain(&other.after).any(|on| on.as_str() == step.step())
        });
        for other in leans {
            let left = state.steps.iter().filter(|(instance, _)| instance.step() == other.name.as_str());
            for (instance, at) in left {
                let undone = !matches!(at.status, Status::Done | Status::GaveUp | Status::Undoing);
                let harmless = !other.kind.is_undone() && other.kind != StepKind::Child;
                assert!(undone || harmless, "{step} is undone before {instance}\n{}", self.history());
            }
        }
    }

    /// Faults end: everything outstanding is answered, definitely.
    pub(crate) fn heal(&mut self) {
        for _ in 0..400 {
            let running: Vec<_> = self.running.iter().cloned().collect();
            for (step, phase) in running {
                let wanted = self.state.abort.is_some() && phase == Phase::Try;
                let answer = if wanted { Answer::refused("cancelled", "asked to") } else { number(5) };
                self.saga_ends(step, phase, answer);
            }
            let commands = outstanding(&self.state);
            let Some(command) = commands.first() else {
                if !self.completes() && self.running.is_empty() {
                    return;
                }
                continue;
            };
            self.heals(command);
        }
        panic!("it goes on for ever\n{}", self.history());
    }

    fn heals(&mut self, command: &Command) {
        match command {
            Command::Wake { timer, at } => {
                self.now = self.now.max(at.0);
                self.happens(What::TimerFired(timer.clone()));
            }
            Command::Tell { step, .. } => {
                let issued = Millis(self.now);
                let answer = Answer::Done(Payload::of("accepted").unwrap());
                let step = step.clone();
                self.happens(What::Answered(Answered {
                    step,
                    phase: Phase::Try,
                    attempt: 1,
                    attempts: 1,
                    issued,
                    answer,
                }));
            }
            Command::Call(call) => {
                self.now = self.now.max(call.not_before.0) + 10;
                let answer = match call.phase {
                    Phase::Query => Answer::refused("failed", "for good"),
                    Phase::Close => Answer::Closed,
                    _ => number(8),
                };
                self.answers(call, answer);
            }
        }
    }

    /// A participant reports what it had said was pending; true if there was one.
    fn completes(&mut self) -> bool {
        let waits = |(step, at): (&StepInstance, &std::sync::Arc<tercet_core::StepState>)| {
            let open = at.parked.is_none() && at.status == Status::Asked && at.kind != StepKind::Child;
            (open && at.pending.is_some()).then(|| step.clone())
        };
        let Some(step) = self.state.steps.iter().find_map(waits) else { return false };
        let issued = Millis(self.now);
        let answer = number(4);
        self.happens(What::Answered(Answered { step, phase: Phase::Try, attempt: 1, attempts: 1, issued, answer }));
        true
    }

    /// Liveness: what has not ended is parked.
    pub(crate) fn nothing_hangs(&self) {
        let parked = self.state.parked().next().is_some();
        assert!(self.state.life.is_ended() || parked, "it hangs\n{}", self.history());
    }

    /// Every parked step is decided by a person, with what it is offered.
    pub(crate) fn a_person_decides(&mut self) {
        for _ in 0..100 {
            let Some(step) = self.state.parked().next().map(|(step, _)| step.clone()) else { return };
            let offered = choices(self.graph, &self.state, &step);
            let order = [Choice::MarkDone, Choice::Cancel, Choice::MarkNotDone, Choice::RetryNow];
            let choice = order.into_iter().find(|choice| offered.contains(choice)).unwrap();
            self.acts(step, choice, false);
            self.heal();
        }
        panic!("it parks for ever\n{}", self.history());
    }

    pub(crate) fn has_ended(&self) {
        let state = &self.state;
        assert!(state.life.is_ended(), "not ended\n{}", self.history());
        assert_eq!(outstanding(state), [], "something is outstanding at the end\n{}", self.history());
        for (id, signal) in &state.signals {
            assert!(signal.verdict.is_some(), "{id} was never judged\n{}", self.history());
        }
        for (step, at) in &state.steps {
            let ended = match (state.life, at.kind) {
                (Life::Confirmed, StepKind::Tcc) => at.status == Status::Confirmed,
                (_, StepKind::Tcc | StepKind::Compensable) if state.life == Life::Cancelled => {
                    matches!(at.status, Status::Undone | Status::Refused | Status::Dropped)
                }
                _ => true,
            };
            assert!(ended, "{step} was left {:?} by a saga {:?}\n{}", at.status, state.life, self.history());
        }
    }
}

fn number(value: i64) -> Answer {
    Answer::Done(Payload::of(&value).unwrap())
}

fn through_json(entry: &Entry) -> Entry {
    serde_json::from_str(&serde_json::to_string(entry).unwrap()).unwrap()
}
