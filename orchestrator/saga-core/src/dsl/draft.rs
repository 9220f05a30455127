//! The erased side of a declaration: nodes as they are declared, mappers without their types, errors kept until `build`.

use super::{Inputs, Source};
use crate::{
    Data, Definition, Payload, Refusal, StepName,
    definition::{BuildError, BuildErrors, Graph, Mapper, Node, NodeId},
    refuse,
};
use serde::Serialize;
use serde_json::Value;
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How deep children may stand in children: a circle of them ends here.
const CHILDREN_DEEP_MAX: u32 = 16;

/// The longest request, in bytes: below the one megabyte that a NATS server takes, with room for headers.
pub const REQUEST_BYTES_MAX: usize = 900 * 1024;

/// A saga under declaration.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) tag: u32,
    pub(crate) nodes: Vec<Node>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) errors: Vec<BuildError>,
}

impl Draft {
    pub(super) fn new(name: &'static str, version: u32) -> Self {
        static TAGS: AtomicU32 = AtomicU32::new(0);
        let tag = TAGS.fetch_add(1, Ordering::Relaxed);
        Self { name, version, tag, nodes: Vec::new(), deadline: None, errors: Vec::new() }
    }

    pub(super) fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// The name, checked; a wrong one is kept as an error, and the declaration goes on under a stand-in.
    pub(super) fn name(&mut self, name: &str) -> StepName {
        match name.parse() {
            Ok(name) => name,
            Err(why) => {
                self.errors.push(BuildError::Name { at: format!("step {}", self.nodes.len() + 1), why });
                StepName::stand_in(self.nodes.len())
            }
        }
    }

    pub(super) fn children(&mut self, step: &StepName, child: &Result<Arc<Graph>, BuildErrors>) {
        if let Err(errors) = child {
            self.errors.push(BuildError::Child { step: step.clone(), errors: errors.clone() });
        }
    }
}

/// A child's graph. A circle of children would declare for ever: it ends as an error.
pub(super) fn child_of<C: Data, O: Data>(definition: fn() -> Definition<C, O>) -> Result<Arc<Graph>, BuildErrors> {
    thread_local! { static DEEP: Cell<u32> = const { Cell::new(0) }; }
    let deep = DEEP.get();
    if deep >= CHILDREN_DEEP_MAX {
        return Err(BuildErrors(vec![BuildError::ChildrenTooDeep { limit: CHILDREN_DEEP_MAX }]));
    }
    DEEP.set(deep + 1);
    let built = definition().build();
    DEEP.set(deep);
    built
}

pub(super) fn erase<P, V: 'static, I: Inputs<P, Values = V>, T: Serialize>(
    inputs: I, map: impl Fn(V) -> Result<T, Refusal> + Send + Sync + 'static,
) -> Mapper {
    let sources = inputs.sources();
    let call = move |raw: &[Payload]| {
        let values = I::read(raw).or_else(|e| refuse("unreadable_input", e.to_string()))?;
        encoded(guarded(|| map(values))?)
    };
    Mapper::new(sources, Arc::new(call))
}

/// A mapper over a step's own request and reply.
pub(super) fn erase_pair<T: Data, R: Data, C: Data>(map: fn((T, R)) -> C) -> Mapper {
    let call = move |raw: &[Payload]| {
        let [request, reply] = raw else { return refuse("unreadable_input", "request and reply are needed") };
        let unreadable = |e: serde_json::Error| Refusal::new("unreadable_input", e.to_string());
        let pair = (request.parse().map_err(unreadable)?, reply.parse().map_err(unreadable)?);
        encoded(guarded(|| Ok(map(pair)))?)
    };
    Mapper::new(Vec::<Source>::new(), Arc::new(call))
}

/// A mapper's panic is a refusal of its step, with the panic's text.
fn guarded<T>(map: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(map)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        refuse("mapper_panicked", text.unwrap_or_else(|| "the mapper panicked".to_owned()))
    })
}

fn encoded<T: Serialize>(value: T) -> Result<Payload, Refusal> {
    let payload = Payload::of(&value).or_else(|e| refuse("unencodable_request", e.to_string()))?;
    if payload.bytes() > REQUEST_BYTES_MAX {
        let (bytes, limit) = (payload.bytes(), REQUEST_BYTES_MAX);
        return refuse("request_too_large", format!("the request has {bytes} bytes, at most {limit} can be sent"));
    }
    Ok(payload)
}

/// Is `payload` a `T`? The error names the field.
pub(crate) fn readable<T: Data>(payload: &Payload) -> Result<(), String> {
    let mut from = serde_json::Deserializer::from_str(payload.as_str());
    serde_path_to_error::deserialize::<_, T>(&mut from).map(drop).map_err(|e| e.to_string())
}

pub(crate) fn schema_of<T: Data>() -> Value {
    schemars::schema_for!(T).to_value()
}
