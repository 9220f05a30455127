//! What an author writes: which saga, on which participants, what else happens, and what must be so in the end.

use crate::{
    act::payload,
    hooks::{Does, Hook, When, boxed},
    place::{Participants, Place},
    plan::{Figures, Kind},
    world::{Setup, World, named},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::Path,
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tercet::{Registry, Settings};
use tercet_core::{DefinitionName, Millis, Payload, StepInstance};

/// The key of the saga under test.
const KEY: &str = "under-test";

/// The definitions among which the saga under test is.
#[derive(Debug)]
pub struct Definitions(pub(crate) Registry);

/// The saga under test, that lacks its participants.
#[derive(Debug)]
pub struct Unanswered {
    registry: Registry,
    definition: DefinitionName,
    input: Payload,
}

impl Definitions {
    /// The saga to be run through its worlds, and what it is started with.
    ///
    /// # Panics
    /// When the registry has no such definition, or the input is not what it starts with.
    #[must_use]
    pub fn saga(self, definition: &str, input: &impl Serialize) -> Unanswered {
        let (definition, input): (DefinitionName, _) = (named(definition), payload(input));
        let Some(graph) = self.0.newest(&definition) else {
            let known: BTreeSet<_> = self.0.iter().map(|graph| graph.name().to_string()).collect();
            panic!("no definition `{definition}` is in the registry; there are: {}", Vec::from_iter(known).join(", "));
        };
        if let Err(why) = graph.check_input(&input) {
            panic!("the input does not fit `{definition}`: {why}");
        }
        Unanswered { registry: self.0, definition, input }
    }
}

impl Unanswered {
    /// Who answers its calls: opened anew for each world, each time in a folder of its own.
    #[must_use]
    pub fn participants<P: Participants, F>(self, open: impl Fn(Place) -> F + Send + Sync + 'static) -> Worlds<P>
    where
        F: Future<Output = P> + Send + 'static,
    {
        Worlds {
            setup: Setup::of(self.registry),
            definition: self.definition,
            key: KEY.to_owned(),
            input: self.input,
            open: Arc::new(move |place| Box::pin(open(place))),
            prepared: None,
            hooks: Vec::new(),
            pumps: Vec::new(),
            courses: vec![Course::Natural],
            may_park: BTreeSet::new(),
            when_parked: BTreeMap::new(),
            may_cancel: false,
            crashes_on_disk: false,
            without: BTreeSet::new(),
            slate: None,
            figures: None,
        }
    }
}

type Open<P> = Arc<dyn Fn(Place) -> Pin<Box<dyn Future<Output = P> + Send>> + Send + Sync>;

/// A way that the saga goes when nothing fails.
pub(crate) enum Course<P> {
    /// As the input has it.
    Natural,
    /// As the author arranges.
    Arranged(String, Does<P, ()>),
    /// The step that is done last before the decision is refused, so that everything is undone.
    Undone(StepInstance),
}

/// A saga, and all that its worlds are made of. [`Worlds::run`] runs them.
pub struct Worlds<P> {
    pub(crate) setup: Setup,
    pub(crate) definition: DefinitionName,
    pub(crate) key: String,
    pub(crate) input: Payload,
    pub(crate) open: Open<P>,
    pub(crate) prepared: Option<Does<P, ()>>,
    pub(crate) hooks: Vec<Hook<P>>,
    pub(crate) pumps: Vec<Does<P, Duration>>,
    pub(crate) courses: Vec<Course<P>>,
    pub(crate) may_park: BTreeSet<String>,
    pub(crate) when_parked: BTreeMap<String, Does<P, ()>>,
    pub(crate) may_cancel: bool,
    pub(crate) crashes_on_disk: bool,
    pub(crate) without: BTreeSet<Kind>,
    pub(crate) slate: Option<Does<P, Result<(), String>>>,
    pub(crate) figures: Option<Does<P, Figures>>,
}

impl<P: Participants> Worlds<P> {
    /// What must be so when a world has come to rest, however it got there: nothing held, nothing left over, every equation true.
    /// `Err` says what is not, and fails the world. [`World::end`] says how the saga ended.
    #[must_use]
    pub fn clean_slate<F>(mut self, check: impl Fn(World<P>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.slate = Some(boxed(check));
        self
    }

    /// Figures that a fault must not change when the saga is to end as without it: pieces sold, money moved, messages sent. The
    /// kit compares them with those of the clean run, so that an effect that happened twice, or not at all, shows.
    #[must_use]
    pub fn figures<F>(mut self, count: impl Fn(World<P>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Figures> + Send + 'static,
    {
        self.figures = Some(boxed(count));
        self
    }

    /// Arranges every world before the saga is started: other sagas that it talks to, rows that it needs.
    #[must_use]
    pub fn prepared<F>(mut self, prepare: impl Fn(World<P>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.prepared = Some(boxed(prepare));
        self
    }

    /// Acts in every world, once `step` of the saga is asked or waits: tells the signal that a wait is for, reports what became of
    /// a step that was answered *pending*.
    ///
    /// # Panics
    /// When the saga has no such step.
    #[must_use]
    pub fn when<F>(mut self, step: &str, act: impl Fn(World<P>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.step(step);
        self.hooks.push(Hook { when: When::Reached(named(step)), does: boxed(act) });
        self
    }

    /// Acts in every world, so long after the start.
    #[must_use]
    pub fn after<F>(mut self, time: Duration, act: impl Fn(World<P>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.hooks.push(Hook { when: When::After(time), does: boxed(act) });
        self
    }

    /// Acts in every world again and again, each time after as long as it says: an outbox's relay, a third party that reports.
    #[must_use]
    pub fn pump<F>(mut self, act: impl Fn(World<P>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Duration> + Send + 'static,
    {
        self.pumps.push(boxed(act));
        self
    }

    /// One more way that the saga goes, arranged before it is started: *no* from a third party, say. Every fault befalls it, too.
    ///
    /// A way on which everything is undone is added by the kit when no course of the author's ends cancelled: the step that is done
    /// last before the decision is refused.
    #[must_use]
    pub fn course<F>(mut self, name: &str, arrange: impl Fn(World<P>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.courses.push(Course::Arranged(name.to_owned(), boxed(arrange)));
        self
    }

    /// A world may come to rest with `step` parked.
    ///
    /// # Panics
    /// When the saga has no such step.
    #[must_use]
    pub fn may_park(mut self, step: &str) -> Self {
        self.step(step);
        self.may_park.insert(step.to_owned());
        self
    }

    /// A world may come to rest with `step` parked, and this is what a person does about it then. The saga must go on.
    ///
    /// # Panics
    /// When the saga has no such step.
    #[must_use]
    pub fn when_parked<F>(mut self, step: &str, act: impl Fn(World<P>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.step(step);
        self.when_parked.insert(step.to_owned(), boxed(act));
        self
    }

    /// A fault that is not a *no* may end the saga cancelled all the same: its policies allow few attempts, or little time.
    #[must_use]
    pub fn may_cancel(mut self) -> Self {
        self.may_cancel = true;
        self
    }

    /// Leaves out a kind of world. The report says so.
    #[must_use]
    pub fn without(mut self, kind: Kind) -> Self {
        self.without.insert(kind);
        self
    }

    /// Every world begins with a copy of that folder, so that what is costly to prepare is prepared once.
    #[must_use]
    pub fn template(mut self, folder: &Path) -> Self {
        self.setup.template = Some(folder.to_owned());
        self
    }

    /// Every world begins then; at the machine's time, unless told otherwise.
    #[must_use]
    pub fn begins(mut self, at: Millis) -> Self {
        self.setup.begins = at;
        self
    }

    /// The key that the saga is started under.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    /// Where every world's random numbers come from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.setup.seed = seed;
        self
    }

    /// Worlds in which a process dies keep their journal in an SQLite file; it is in memory, unless told so.
    #[must_use]
    pub fn crashes_on_disk(mut self) -> Self {
        self.crashes_on_disk = true;
        self
    }

    /// The engine's settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.setup.settings = settings;
        self
    }

    /// How long a saga may take, all waits included, before it is called stuck: two weeks, unless told otherwise.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.setup.patience = time;
        self
    }

    fn step(&self, step: &str) {
        let graph = self.setup.registry.newest(&self.definition);
        let steps = graph.map(|graph| graph.nodes().iter().map(|node| node.name().as_str()).collect::<Vec<_>>());
        let steps = steps.unwrap_or_default();
        let name = step.rsplit('.').next().unwrap_or(step);
        assert!(steps.contains(&name), "`{}` has no step `{step}`; it has: {}", self.definition, steps.join(", "));
    }
}

impl<P> std::fmt::Debug for Worlds<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worlds").field("definition", &self.definition).finish_non_exhaustive()
    }
}
