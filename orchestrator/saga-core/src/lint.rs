//! The linter: what `build` lets pass and an experienced eye would not, each with what to do about it; and the outputs of a
//! definition's mappers on samples, to be compared with a committed file.

use crate::{
    OnExhausted, Payload, StepKind, StepName,
    definition::{Graph, Mapper, Node, NodeId, Part},
    dsl::{From, Source},
    policy::EXPIRY_MARGIN,
};
use std::{collections::BTreeMap, fmt, time::Duration};

/// From so many attempts on "a person is told" means that nobody is.
const ATTENTION_LATE: u32 = 1_000;

/// Polling longer than this is polling for ever.
const POLLING_LONG: Duration = Duration::from_secs(90 * 24 * 3600);

/// Something to look at in a definition that builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The step; nothing for the saga as a whole.
    pub step: Option<StepName>,
    /// Stable, for programs and exceptions: `no_query`.
    pub code: &'static str,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "step `{step}` {}: {} [{}]", self.message, self.help, self.code),
            None => write!(f, "the saga {}: {} [{}]", self.message, self.help, self.code),
        }
    }
}

/// Looks a definition over. No finding is an error; each is worth a thought.
///
/// ```
/// use tercet_core::{Operation, Saga, kind, lint::lint};
/// struct Pay;
/// impl Operation for Pay {
///     const NAME: &'static str = "bank.pay/1";
///     type Kind = kind::Pivot;
///     type Request = i64;
///     type Reply = i64;
///     const QUERIES: bool = false;
/// }
/// let saga = Saga::<i64>::new("pay", 1);
/// let paid = saga.pivot("money", Pay).request(saga.input(), |amount| amount);
/// let findings = lint(&saga.output(paid, |paid| paid).build().unwrap());
/// assert_eq!(findings[0].code, "no_query");
/// ```
#[must_use]
pub fn lint(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, node) in (0..).zip(&graph.nodes) {
        let mut say = |code, message: String, help| {
            findings.push(Finding { step: Some(node.name.clone()), code, message, help });
        };
        irreversible(node, &mut say);
        time(graph, node, &mut say);
        attempts(graph, node, &mut say);
        if node.kind == StepKind::Read && node.part != Part::Trying && !is_leant_on(graph, id) {
            let help =
                "read it, let a step come `.after` it, or leave it out: if it refuses here the saga parks for it";
            say("unread", "is a read whose result nobody reads".to_owned(), help);
        }
    }
    findings
}

/// Pivots and externals: what becomes of an unknown outcome.
fn irreversible(node: &Node, say: &mut impl FnMut(&'static str, String, &'static str)) {
    if !node.kind.is_irreversible() {
        return;
    }
    if !node.queries {
        let message = "cannot be asked what became of it, so every unknown outcome waits for a person".to_owned();
        say("no_query", message, "offer a query in its contract");
    }
    let polling = node.policy.query_every.saturating_mul(node.policy.query_limit);
    let ends = node.closes && node.kind == StepKind::Pivot;
    if node.queries && !ends && node.expires_after.is_none() && polling > POLLING_LONG {
        let message = format!("is queried for {} days before anybody is asked", days(polling));
        let help = "lower `.query_limit(..)`, or give its contract a close or an expiry, so that it ends by itself";
        say("polls_for_ever", message, help);
    }
    if let Some(expires) = node.expires_after
        && node.queries
        && !ends
        && polling < expires + EXPIRY_MARGIN
    {
        let message = format!(
            "parks after {} s of queries, though its lifetime of {} s would end it by itself",
            polling.as_secs(),
            expires.as_secs()
        );
        say("parks_before_expiry", message, "raise `.query_limit(..)` or `.query_every(..)` above lifetime and margin");
    }
    if node.is_pivot && node.policy.on_exhausted == OnExhausted::Abort {
        let message = "aborts when exhausted only if nothing of it can have been done; else it parks".to_owned();
        say("abort_is_conditional", message, "expect parked sagas, or give its contract a close");
    }
}

fn days(time: Duration) -> u64 {
    time.as_secs() / (24 * 3600)
}

/// Times against the saga's own deadline.
fn time(graph: &Graph, node: &Node, say: &mut impl FnMut(&'static str, String, &'static str)) {
    let (Some(deadline), Part::Trying) = (graph.deadline, node.part) else { return };
    let too_long = |time: Duration| time >= deadline;
    if let Some(wait) = node.wait.filter(|&wait| too_long(wait)) {
        let message = format!("waits up to {} s, the saga at most {} s", wait.as_secs(), deadline.as_secs());
        say("outlasts_deadline", message, "shorten the wait, or raise the saga's `.deadline(..)`");
    }
    if node.contract.is_some() && node.kind != StepKind::Wait && too_long(node.policy.timeout) {
        let message = "waits longer for one answer than the saga may last".to_owned();
        say("outlasts_deadline", message, "shorten `.timeout(..)`, or raise the saga's `.deadline(..)`");
    }
}

/// Attempts that go on for ever: somebody must be told.
fn attempts(graph: &Graph, node: &Node, say: &mut impl FnMut(&'static str, String, &'static str)) {
    let is_asked = node.contract.is_some() && node.kind != StepKind::Wait;
    if !is_asked {
        return;
    }
    let (policy, retry) = (&node.policy, &node.policy.retry);
    let for_ever = node.part != Part::Trying || node.kind.is_undone() || retry.attempts.is_none();
    if for_ever && policy.attention_after >= ATTENTION_LATE {
        let message = format!("may be asked for ever, and is flagged only after {} attempts", policy.attention_after);
        say("nobody_is_told", message, "lower `.attention_after(..)`");
    }
    if node.part == Part::Trying && retry.attempts.is_none() && graph.deadline.is_none() {
        let message = "is tried for ever, and the saga has no deadline".to_owned();
        say("tried_for_ever", message, "say `.attempts(..)` in its retry, or give the saga a `.deadline(..)`");
    }
    if retry.cap < retry.first {
        let message = "waits longer before its second attempt than its cap allows".to_owned();
        say("cap_below_first", message, "raise the cap above the first wait: the cap is what counts");
    }
}

fn is_leant_on(graph: &Graph, id: NodeId) -> bool {
    let reads = |sources: &[Source]| sources.iter().any(|source| source.from.node() == Some(id));
    graph.plan.needs.iter().any(|needs| reads(needs)) || reads(graph.output.sources())
}

/// Values to run mappers on.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The saga's input.
    pub input: Payload,
    /// What each step replies; for a fan-out's name, one of its items.
    pub replies: BTreeMap<StepName, Payload>,
}

/// What every mapper of a definition makes of `samples`, a line each: `hold: {"amount_minor":500}`. A committed copy of it shows
/// in review, and to `lint`, that a mapper's body was edited, which no fingerprint covers.
///
/// A sampled reply stands for a branch that was taken, and for a fan-out of one item.
#[must_use]
pub fn mapper_outputs(graph: &Graph, samples: &Samples) -> String {
    let mut out = String::new();
    let mut line = |name: String, mapper: &Mapper, chain: &[NodeId]| {
        let made = values(graph, samples, mapper, chain).and_then(|values| {
            let made = mapper.call(&values).map_err(|refusal| format!("refused, {refusal}"))?;
            Ok(made.as_str().to_owned())
        });
        out.push_str(&format!("{name}: {}\n", made.unwrap_or_else(|why| why)));
    };
    for (id, node) in graph.nodes.iter().enumerate() {
        let chain = &graph.plan.chains[id];
        let mappers = [("", &node.request), (".key", &node.key), (".otherwise", &node.otherwise)];
        for (what, mapper) in mappers {
            if let Some(mapper) = mapper {
                line(format!("{}{what}", node.name), mapper, chain);
            }
        }
    }
    line(crate::definition::OUTPUT.to_owned(), &graph.output, &[]);
    out
}

fn values(graph: &Graph, samples: &Samples, mapper: &Mapper, chain: &[NodeId]) -> Result<Vec<Payload>, String> {
    let value = |source: &Source| {
        let Some(node) = source.from.node() else { return Ok(samples.input.clone()) };
        let name = &graph.at(node).name;
        let sample = samples.replies.get(name).ok_or_else(|| format!("no sample of `{name}`"))?;
        let theirs = graph.plan.chain_of(source.from);
        let common = chain.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let beyond = theirs[common..].iter().filter(|&&scope| graph.at(scope).kind == StepKind::ForEach);
        let lists = if matches!(source.from, From::Item(_)) { 0 } else { beyond.count() };
        let text = format!("{}{}{}", "[".repeat(lists), sample.as_str(), "]".repeat(lists));
        Payload::from_bytes(text.as_bytes()).map_err(|e| e.to_string())
    };
    mapper.sources().iter().map(value).collect()
}
