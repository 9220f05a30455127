//! What the compiler cannot check about a definition: each error names the step and says what to do.

use super::{Checked, Graph, Mapper, Node, NodeId, Part, Plan};
use crate::{
    BadName, ContractName, DefinitionName, StepKind, StepName,
    dsl::{Source, draft::Draft},
    policy::WAIT_MAX,
};
use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

/// A step instance's name at most: a key made of it, with a saga's id and a suffix, still fits in 255 bytes.
const INSTANCE_NAME_MAX: usize = 200;

/// `[9999].` behind a fan-out's name.
const INDEX_BYTES: usize = 7;

/// Steps in one definition at most.
const STEPS_MAX: usize = 1_000;

/// A mistake in a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A name that cannot be one.
    #[error("{at}: {why}")]
    Name {
        /// Where.
        at: String,
        /// What is wrong with it.
        why: BadName,
    },
    /// Two steps of one name.
    #[error("two steps are named `{step}`: give each its own name, they are what a journal finds its steps by")]
    Duplicate {
        /// The name.
        step: StepName,
    },
    /// A name that Tercet keeps for itself.
    #[error("`{step}` is a name that Tercet uses itself: call the step something else")]
    Reserved {
        /// The name.
        step: StepName,
    },
    /// No step.
    #[error("the definition has no step: declare at least one")]
    Empty,
    /// Too many.
    #[error(
        "the definition has {steps} steps, at most {limit} are allowed: fan out with `for_each`, or use child sagas"
    )]
    TooMany {
        /// Steps found.
        steps: usize,
        /// Steps allowed.
        limit: usize,
    },
    /// Version 0.
    #[error("a definition's version starts at 1")]
    Version,
    /// A step that is never asked with anything.
    #[error("step `{step}` has no request: end it with `.request(..)` (a wait with `.within(..)`)")]
    NoRequest {
        /// The step.
        step: StepName,
    },
    /// More than one.
    #[error(
        "`{second}` is a second pivot beside `{first}`: one step's success is the decision; make the other tcc, or `external` after it"
    )]
    SecondPivot {
        /// The first one.
        first: StepName,
        /// The one too many.
        second: StepName,
    },
    /// A handle of another declaration.
    #[error("step `{step}` reads a handle of another saga: declare what it reads in this one")]
    ForeignHandle {
        /// The step.
        step: StepName,
    },
    /// A handle that left its scope by a side door.
    #[error(
        "step `{step}` reads `{of}` from outside of its `{scope}`: return the handle from the body, and read what `{scope}` gives"
    )]
    LeakedHandle {
        /// The reader.
        step: StepName,
        /// The step read.
        of: StepName,
        /// The branch or fan-out.
        scope: StepName,
    },
    /// A time that cannot be meant.
    #[error("{at}: {what} of {}: it must be above zero and at most ten years", humane(.time))]
    Time {
        /// The step, or the saga.
        at: String,
        /// Which time.
        what: &'static str,
        /// What was given.
        time: Duration,
    },
    /// A name that no key could be made of.
    #[error(
        "step `{step}` and the fan-outs around it are named in up to {bytes} bytes, at most {limit} are allowed: shorten their names"
    )]
    InstanceName {
        /// The step.
        step: StepName,
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No attempt at all.
    #[error("step `{step}` allows no attempt: `.retry(..)` needs at least one")]
    NoAttempt {
        /// The step.
        step: StepName,
    },
    /// A child that nothing undoes.
    #[error(
        "child `{step}` stands before the decision, and nothing undoes it: name the saga that does (`.undone_by(..)`), make it the pivot (`pivot_child`), or move it into `on_confirmed`"
    )]
    ChildNotUndone {
        /// The step.
        step: StepName,
    },
    /// A circle of waiting.
    #[error(
        "child `{step}` stands before the decision and signals `{definition}`, which waits for it: signal after the decision, or from another saga"
    )]
    ChildSignalsParent {
        /// The step.
        step: StepName,
        /// This definition.
        definition: DefinitionName,
    },
    /// A child's definition is wrong itself.
    #[error("child `{step}`: {errors}")]
    Child {
        /// The step.
        step: StepName,
        /// What is wrong.
        errors: BuildErrors,
    },
    /// Children in a circle, or nearly.
    #[error("children stand more than {limit} deep in one another, or in a circle")]
    ChildrenTooDeep {
        /// How deep they may.
        limit: u32,
    },
}

fn humane(time: &Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// Every mistake in a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildErrors(pub Vec<BuildError>);

impl fmt::Display for BuildErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildErrors {}

/// The name under which a failed output is shown and resolved.
pub(crate) const OUTPUT: &str = "output";

/// The name under which a saga that cannot be handled is shown and resolved.
pub(crate) const SAGA: &str = "saga";

pub(super) fn build(draft: Draft, output: Mapper, input: Checked, answer: Checked) -> Result<Arc<Graph>, BuildErrors> {
    let mut errors = draft.errors.clone();
    let name = draft.name.parse::<DefinitionName>();
    if let Err(why) = &name {
        errors.push(BuildError::Name { at: "the definition".to_owned(), why: why.clone() });
    }
    let plan = Plan::of(&draft.nodes);
    check_whole(&draft, &mut errors);
    for (id, node) in (0..).zip(&draft.nodes) {
        check_node(node, &mut errors);
        check_instance(&draft, node, &plan.chains[id as usize], &mut errors);
        check_handles(&draft, &plan, &plan.chains[id as usize], &node.name, &plan.needs[id as usize], &mut errors);
        if let Ok(name) = &name {
            check_child(node, name, &mut errors);
        }
    }
    let (Ok(name), true) = (name, errors.is_empty()) else { return Err(BuildErrors(errors)) };
    let own = StepName::output();
    check_handles(&draft, &plan, &[], &own, output.sources(), &mut errors);
    if !errors.is_empty() {
        return Err(BuildErrors(errors));
    }
    let Draft { version, nodes, deadline, .. } = draft;
    let mut graph = Graph { name, version, nodes, output, deadline, input, answer, plan, fingerprint: String::new() };
    graph.fingerprint = graph.describe().fingerprint();
    Ok(Arc::new(graph))
}

fn check_whole(draft: &Draft, errors: &mut Vec<BuildError>) {
    if draft.nodes.is_empty() {
        errors.push(BuildError::Empty);
    }
    if draft.nodes.len() > STEPS_MAX {
        errors.push(BuildError::TooMany { steps: draft.nodes.len(), limit: STEPS_MAX });
    }
    if draft.version == 0 {
        errors.push(BuildError::Version);
    }
    if let Some(time) = draft.deadline {
        check_time("the saga", "a deadline", time, errors);
    }
    let mut names = BTreeSet::new();
    for node in &draft.nodes {
        if !names.insert(&node.name) {
            errors.push(BuildError::Duplicate { step: node.name.clone() });
        }
        if [OUTPUT, SAGA].contains(&node.name.as_str()) {
            errors.push(BuildError::Reserved { step: node.name.clone() });
        }
    }
    let mut pivots = draft.nodes.iter().filter(|node| node.is_pivot);
    if let Some(first) = pivots.next() {
        errors.extend(pivots.map(|p| BuildError::SecondPivot { first: first.name.clone(), second: p.name.clone() }));
    }
}

fn check_node(node: &Node, errors: &mut Vec<BuildError>) {
    let needs_request = !matches!(node.kind, StepKind::Wait | StepKind::Sleep);
    let unfinished_wait = node.kind == StepKind::Wait && node.wait.is_none() && node.request.is_none();
    if (needs_request && node.request.is_none() && node.child.is_some() == (node.kind == StepKind::Child))
        || unfinished_wait
    {
        errors.push(BuildError::NoRequest { step: node.name.clone() });
    }
    if let Some(contract) = &node.contract {
        let checked = contract.parse::<ContractName>().and_then(|c| c.parts().map(drop));
        errors.extend(checked.err().map(|why| BuildError::Name { at: format!("step `{}`", node.name), why }));
    }
    let at = format!("step `{}`", node.name);
    if let Some(time) = node.wait {
        check_time(&at, "a wait", time, errors);
    }
    check_time(&at, "a timeout", node.policy.timeout, errors);
    check_time(&at, "a first wait between attempts", node.policy.retry.first, errors);
    check_time(&at, "a query interval", node.policy.query_every, errors);
    if node.policy.retry.attempts == Some(0) {
        errors.push(BuildError::NoAttempt { step: node.name.clone() });
    }
}

fn check_instance(draft: &Draft, node: &Node, chain: &[NodeId], errors: &mut Vec<BuildError>) {
    let fan_outs = chain.iter().map(|&scope| draft.node(scope)).filter(|scope| scope.kind == StepKind::ForEach);
    let around: usize = fan_outs.map(|scope| scope.name.as_str().len() + INDEX_BYTES).sum();
    let (bytes, limit) = (around + node.name.as_str().len(), INSTANCE_NAME_MAX);
    if bytes > limit {
        errors.push(BuildError::InstanceName { step: node.name.clone(), bytes, limit });
    }
}

fn check_time(at: &str, what: &'static str, time: Duration, errors: &mut Vec<BuildError>) {
    if time.is_zero() || time > WAIT_MAX {
        errors.push(BuildError::Time { at: at.to_owned(), what, time });
    }
}

fn check_handles(
    draft: &Draft, plan: &Plan, chain: &[NodeId], step: &StepName, sources: &[Source], errors: &mut Vec<BuildError>,
) {
    for source in sources {
        if source.saga != draft.tag {
            errors.push(BuildError::ForeignHandle { step: step.clone() });
            continue;
        }
        let Some(of) = source.from.node() else { continue };
        let theirs = plan.chain_of(source.from);
        let common = chain.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let beyond = &theirs[common..];
        if beyond.len() != usize::from(source.lifted) {
            let scope = beyond.first().or(theirs.last()).map_or(of, |&scope| scope);
            let name = |id: NodeId| draft.node(id).name.clone();
            errors.push(BuildError::LeakedHandle { step: step.clone(), of: name(of), scope: name(scope) });
        }
    }
}

fn check_child(node: &Node, definition: &DefinitionName, errors: &mut Vec<BuildError>) {
    let (Some(child), Part::Trying) = (&node.child, node.part) else { return };
    if !node.is_pivot && node.undo.is_none() {
        errors.push(BuildError::ChildNotUndone { step: node.name.clone() });
    }
    if signals(child, definition) {
        errors.push(BuildError::ChildSignalsParent { step: node.name.clone(), definition: definition.clone() });
    }
}

fn signals(graph: &Graph, definition: &DefinitionName) -> bool {
    let tells = |node: &Node| node.to.as_ref() == Some(definition);
    graph.nodes.iter().any(|n| tells(n) || n.child.as_ref().is_some_and(|child| signals(child, definition)))
}
