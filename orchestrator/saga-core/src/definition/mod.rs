//! Definitions: a saga's graph with name, version and fingerprint; typed outside, erased within.

mod build;
mod describe;
mod plan;

pub use build::{BuildError, BuildErrors};
pub(crate) use build::{OUTPUT, SAGA};
pub use describe::{Description, Reads, StepDescription};
pub(crate) use plan::Plan;

use crate::{
    Data, DefinitionName, Payload, Refusal, StepInstance, StepKind, StepName,
    dsl::{
        Marker, Source,
        draft::{Draft, readable, schema_of},
    },
    policy::Policy,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

/// A step's place among its definition's steps, in the order of declaration.
pub(crate) type NodeId = u32;

/// The part of a saga's life in which a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Before the decision.
    Trying,
    /// After a commit.
    Confirmed,
    /// After an abort.
    Cancelled,
}

type Erased = dyn Fn(&[Payload]) -> Result<Payload, Refusal> + Send + Sync;

/// A mapper without its types: JSON texts in, one JSON text out, or a refusal of the step.
#[derive(Clone)]
pub struct Mapper {
    sources: Vec<Source>,
    call: Arc<Erased>,
}

impl Mapper {
    pub(crate) fn new(sources: Vec<Source>, call: Arc<Erased>) -> Self {
        Self { sources, call }
    }

    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Runs it. Panics inside come back as refusals.
    pub(crate) fn call(&self, values: &[Payload]) -> Result<Payload, Refusal> {
        (self.call)(values)
    }
}

impl fmt::Debug for Mapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mapper").field(&self.sources).finish()
    }
}

/// The saga that takes back what was done: started with an input made from the step's own request and reply.
#[derive(Clone, Debug)]
pub(crate) struct Undo {
    pub(crate) definition: Arc<Graph>,
    pub(crate) input: Mapper,
}

/// A step of a definition.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) name: StepName,
    /// The instance, when it stands in no fan-out.
    pub(crate) plain: StepInstance,
    pub(crate) kind: StepKind,
    pub(crate) part: Part,
    /// The `when` or `for_each` it stands in.
    pub(crate) within: Option<NodeId>,
    pub(crate) is_pivot: bool,
    pub(crate) contract: Option<String>,
    pub(crate) child: Option<Arc<Graph>>,
    pub(crate) undo: Option<Undo>,
    /// The definition a signal is for.
    pub(crate) to: Option<DefinitionName>,
    /// What the step is asked with; a branch's test; a fan-out's items; a child's input; a wait's limit, in milliseconds.
    pub(crate) request: Option<Mapper>,
    /// The effect's key; a signal's receiver's key.
    pub(crate) key: Option<Mapper>,
    /// A wait's value when nobody spoke.
    pub(crate) otherwise: Option<Mapper>,
    pub(crate) after: Vec<Source>,
    pub(crate) policy: Policy,
    pub(crate) wait: Option<Duration>,
    pub(crate) queries: bool,
    pub(crate) closes: bool,
    pub(crate) expires_after: Option<Duration>,
    pub(crate) request_schema: Value,
    pub(crate) reply_schema: Value,
    pub(crate) readable: fn(&Payload) -> Result<(), String>,
}

impl Node {
    pub(crate) fn new(name: StepName, kind: StepKind, part: Part, within: Option<NodeId>) -> Self {
        Self {
            plain: StepInstance::plain(&name),
            name,
            kind,
            part,
            within,
            is_pivot: kind == StepKind::Pivot,
            contract: None,
            child: None,
            undo: None,
            to: None,
            request: None,
            key: None,
            otherwise: None,
            after: Vec::new(),
            policy: Policy::DEFAULT,
            wait: None,
            queries: false,
            closes: false,
            expires_after: None,
            request_schema: Value::Null,
            reply_schema: Value::Null,
            readable: readable::<()>,
        }
    }

    /// The step's name.
    #[must_use]
    pub fn name(&self) -> &StepName {
        &self.name
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> StepKind {
        self.kind
    }

    /// Where in a saga's life it stands.
    #[must_use]
    pub fn part(&self) -> Part {
        self.part
    }

    /// Its policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its success is the decision.
    #[must_use]
    pub fn is_pivot(&self) -> bool {
        self.is_pivot
    }

    /// The operation or signal.
    #[must_use]
    pub fn contract(&self) -> Option<&str> {
        self.contract.as_deref()
    }

    /// The child's definition.
    #[must_use]
    pub fn child(&self) -> Option<&Arc<Graph>> {
        self.child.as_ref()
    }

    /// Can `reply` be read as what this step answers? A reply that cannot be read is *unknown*: the shell asks before it tells.
    ///
    /// # Errors
    /// Where in the reply, and what was expected.
    pub fn check_reply(&self, reply: &Payload) -> Result<(), String> {
        (self.readable)(reply)
    }
}

/// A declared saga; keeps the types of input and output, so that a child is typed. A registry erases them.
pub struct Definition<In, Out> {
    draft: Draft,
    output: Mapper,
    of: Marker<(In, Out)>,
}

impl<In: Data, Out: Data> Definition<In, Out> {
    pub(crate) fn new(draft: Draft, output: Mapper) -> Self {
        Self { draft, output, of: PhantomData }
    }

    /// Checks what the compiler cannot, and erases the types.
    ///
    /// # Errors
    /// Every mistake found, each naming its step and what to do.
    pub fn build(self) -> Result<Arc<Graph>, BuildErrors> {
        let input = Checked { schema: schema_of::<In>(), readable: readable::<In> };
        let output = Checked { schema: schema_of::<Out>(), readable: readable::<Out> };
        build::build(self.draft, self.output, input, output)
    }
}

impl<In, Out> fmt::Debug for Definition<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("name", &self.draft.name).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) schema: Value,
    pub(crate) readable: fn(&Payload) -> Result<(), String>,
}

/// A built definition: what [`decide`](crate::decide) reads.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) name: DefinitionName,
    pub(crate) version: u32,
    pub(crate) nodes: Vec<Node>,
    pub(crate) output: Mapper,
    pub(crate) deadline: Option<Duration>,
    pub(crate) input: Checked,
    pub(crate) answer: Checked,
    pub(crate) plan: Plan,
    pub(crate) fingerprint: String,
}

impl Graph {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &DefinitionName {
        &self.name
    }

    /// Its version, from 1.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// SHA-256, in hexadecimal, over its steps, kinds, edges, names, policies, contracts and JSON schemas; not over code.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Its steps, in the order of declaration, which is an order of dependency.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How long a saga of it may stay undecided.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The step of that name, whichever fan-out `step` stands in.
    #[must_use]
    pub fn node(&self, step: &StepInstance) -> Option<&Node> {
        self.id_of(step).map(|id| self.at(id))
    }

    /// Is `input` what a saga of this definition starts with?
    ///
    /// # Errors
    /// Where in the input, and what was expected.
    pub fn check_input(&self, input: &Payload) -> Result<(), String> {
        (self.input.readable)(input)
    }

    /// Is `payload` what the signal `name` carries, for a wait of this definition? `None` when it waits for no such signal.
    #[must_use]
    pub fn check_signal(&self, name: &str, payload: &Payload) -> Option<Result<(), String>> {
        let waits = |node: &&Node| node.kind == StepKind::Wait && node.contract() == Some(name);
        self.nodes.iter().find(waits).map(|node| node.check_reply(payload))
    }

    /// Definitions that its sagas may start, as children or to undo: a node that runs it needs them too.
    pub fn children(&self) -> impl Iterator<Item = &Arc<Self>> {
        self.nodes.iter().flat_map(|node| node.child.iter().chain(node.undo.iter().map(|undo| &undo.definition)))
    }

    pub(crate) fn id_of(&self, step: &StepInstance) -> Option<NodeId> {
        self.plan.by_name.get(step.step()).copied()
    }

    pub(crate) fn at(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }
}
