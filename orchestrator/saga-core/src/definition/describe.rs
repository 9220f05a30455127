//! A definition as data: what is registered, fingerprinted, shown and drawn, also when its code is gone.

use super::{Graph, Node, NodeId, Part};
use crate::{
    DefinitionName, StepKind, StepName,
    dsl::{From, Source},
    policy::Policy,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Written so that it can be read by later versions: fields are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The definition's name.
    pub name: DefinitionName,
    /// Its version.
    pub version: u32,
    /// How long a saga of it may stay undecided, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// Its steps, in the order of declaration.
    pub steps: Vec<StepDescription>,
    /// What `output` reads.
    pub output: Vec<Reads>,
    /// JSON schema of the input.
    pub input_schema: Value,
    /// JSON schema of the output.
    pub output_schema: Value,
}

/// One step of a [`Description`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepDescription {
    /// Its name.
    pub name: StepName,
    /// Its kind.
    pub kind: StepKind,
    /// Where in a saga's life it stands.
    pub part: Part,
    /// Its success is the decision.
    pub is_pivot: bool,
    /// The branch or fan-out around it.
    pub within: Option<StepName>,
    /// The operation or signal.
    pub contract: Option<String>,
    /// The child saga, or the saga that a signal is for: its name, and a child's version.
    pub saga: Option<(DefinitionName, Option<u32>)>,
    /// The saga that undoes it: name and version.
    pub undone_by: Option<(DefinitionName, u32)>,
    /// What its mappers read.
    pub reads: Vec<Reads>,
    /// What it comes after without reading it.
    pub after: Vec<StepName>,
    /// Its policy.
    pub policy: Policy,
    /// How long a wait or sleep lasts at most, in milliseconds.
    pub wait_ms: Option<u64>,
    /// A missed wait goes on with a value of its own.
    pub has_otherwise: bool,
    /// It has a business key of its own.
    pub has_key: bool,
    /// Its unknown outcome can be queried.
    pub queries: bool,
    /// Its key can be closed at the third party.
    pub closes: bool,
    /// An attempt's lifetime at the third party, in milliseconds.
    pub expires_after_ms: Option<u64>,
    /// JSON schema of the request.
    pub request_schema: Value,
    /// JSON schema of the reply.
    pub reply_schema: Value,
}

/// What a mapper reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// The saga's input.
    Input,
    /// A step's result.
    Result(StepName),
    /// A step's result, if it was done before the abort.
    IfDone(StepName),
    /// The item of the fan-out around it.
    Item(StepName),
}

impl Reads {
    /// The step it reads, if it is one.
    #[must_use]
    pub fn step(&self) -> Option<&StepName> {
        match self {
            Self::Input => None,
            Self::Result(step) | Self::IfDone(step) | Self::Item(step) => Some(step),
        }
    }
}

impl Description {
    /// SHA-256 over the canonical JSON (RFC 8785) of this description, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let canonical = serde_json_canonicalizer::to_vec(self).unwrap_or_default();
        Sha256::digest(canonical).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The step of that name.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&StepDescription> {
        self.steps.iter().find(|step| step.name.as_str() == name)
    }
}

impl Graph {
    /// This definition as data.
    #[must_use]
    pub fn describe(&self) -> Description {
        Description {
            name: self.name.clone(),
            version: self.version,
            deadline_ms: self.deadline.map(millis),
            steps: self.nodes.iter().map(|node| self.describe_step(node)).collect(),
            output: self.reads(self.output.sources()),
            input_schema: self.input.schema.clone(),
            output_schema: self.answer.schema.clone(),
        }
    }

    fn describe_step(&self, node: &Node) -> StepDescription {
        let child = node.child.as_ref().map(|child| (child.name.clone(), Some(child.version)));
        let mappers = [&node.request, &node.key, &node.otherwise].into_iter().flatten();
        let mut reads = self.reads(&mappers.flat_map(|m| m.sources().iter().copied()).collect::<Vec<_>>());
        let mut seen = Vec::new();
        reads.retain(|read| {
            !seen.contains(read) && {
                seen.push(read.clone());
                true
            }
        });
        StepDescription {
            name: node.name.clone(),
            kind: node.kind,
            part: node.part,
            is_pivot: node.is_pivot,
            within: node.within.map(|scope| self.name_of(scope)),
            contract: node.contract.clone(),
            saga: child.or_else(|| node.to.clone().map(|to| (to, None))),
            undone_by: node.undo.as_ref().map(|u| (u.definition.name.clone(), u.definition.version)),
            reads,
            after: node.after.iter().filter_map(|s| s.from.node()).map(|id| self.name_of(id)).collect(),
            policy: node.policy,
            wait_ms: node.wait.map(millis),
            has_otherwise: node.otherwise.is_some(),
            has_key: node.key.is_some(),
            queries: node.queries,
            closes: node.closes,
            expires_after_ms: node.expires_after.map(millis),
            request_schema: node.request_schema.clone(),
            reply_schema: node.reply_schema.clone(),
        }
    }

    fn name_of(&self, id: NodeId) -> StepName {
        self.at(id).name.clone()
    }

    fn reads(&self, sources: &[Source]) -> Vec<Reads> {
        let read = |source: &Source| match source.from {
            From::Input => Reads::Input,
            From::Done(node) => Reads::Result(self.name_of(node)),
            From::IfDone { node, .. } => Reads::IfDone(self.name_of(node)),
            From::Item(node) => Reads::Item(self.name_of(node)),
        };
        sources.iter().map(read).collect()
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
