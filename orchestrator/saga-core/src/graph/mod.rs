//! Drawings of a definition, each with or without a saga's live state over it: Mermaid, DOT, and a tree for terminals.
//!
//! They are made from a [`Description`], so a saga is drawn also when its code is gone. Edges are the data flow.

mod dot;
mod mermaid;
mod tree;

pub use dot::dot;
pub use mermaid::mermaid;
pub use tree::tree;

use crate::{
    Description, State, StepKind, StepState,
    definition::{Part, Reads, StepDescription},
    state::{Life, Status},
};

/// How a step stands in a drawing: a class in Mermaid, a colour in DOT, a mark and a word in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    /// Not reached, or drawn without a state.
    Idle,
    Dropped,
    Undone,
    Done,
    Waiting,
    Asked,
    Undoing,
    Failed,
    Parked,
}

impl Look {
    const ALL: [Self; 9] = [
        Self::Idle,
        Self::Dropped,
        Self::Undone,
        Self::Done,
        Self::Waiting,
        Self::Asked,
        Self::Undoing,
        Self::Failed,
        Self::Parked,
    ];

    /// Of a state; the word beside it says more exactly which.
    fn of(at: &StepState) -> (Self, &'static str) {
        if at.parked.is_some() {
            return (Self::Parked, "parked");
        }
        match at.status {
            Status::Asked if at.pending.is_some() => (Self::Asked, "pending"),
            Status::Asked => (Self::Asked, "asked"),
            Status::Waiting(_) => (Self::Waiting, "waiting"),
            Status::Done if at.kind == StepKind::When => (Self::Done, if at.taken { "taken" } else { "not taken" }),
            Status::Done => (Self::Done, "done"),
            Status::Confirming => (Self::Asked, "confirming"),
            Status::Confirmed => (Self::Done, "confirmed"),
            Status::Refused => (Self::Failed, "refused"),
            Status::GaveUp => (Self::Failed, "given up"),
            Status::Missed => (Self::Failed, "missed"),
            Status::Undoing => (Self::Undoing, "undoing"),
            Status::Undone => (Self::Undone, "undone"),
            Status::Dropped => (Self::Dropped, "dropped"),
            Status::Unasked => (Self::Failed, "not asked"),
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Dropped => "dropped",
            Self::Undone => "undone",
            Self::Done => "done",
            Self::Waiting => "waiting",
            Self::Asked => "asked",
            Self::Undoing => "undoing",
            Self::Failed => "failed",
            Self::Parked => "parked",
        }
    }

    /// Fill and border, readable in black on white and on a dark page.
    const fn colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Idle => ("#ffffff", "#8a8f98"),
            Self::Dropped => ("#eceef1", "#b5bac2"),
            Self::Undone => ("#e4dff5", "#7a63c0"),
            Self::Done => ("#d7f0dd", "#2e8b4a"),
            Self::Waiting => ("#e3eefb", "#5b8fd0"),
            Self::Asked => ("#cfe3fb", "#1f6fc4"),
            Self::Undoing => ("#d9ccf5", "#5b3fb5"),
            Self::Failed => ("#fbdcd8", "#c0392b"),
            Self::Parked => ("#ffe3b0", "#c77700"),
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Idle => "·",
            Self::Dropped => "–",
            Self::Undone => "↩",
            Self::Done => "✓",
            Self::Waiting => "◷",
            Self::Asked => "▶",
            Self::Undoing => "◀",
            Self::Failed => "✗",
            Self::Parked => "‖",
        }
    }
}

/// What a drawing says of a step over its definition.
struct Live {
    look: Look,
    /// `done`, or `3/5 done` in a fan-out; nothing before it was reached.
    word: String,
    /// Somebody should look, or evidence contradicts the journal.
    flagged: bool,
    /// Why it is parked, the first of its instances that is.
    why: Option<String>,
}

/// A definition, ready to be drawn.
struct View<'d> {
    definition: &'d Description,
    state: Option<&'d State>,
}

/// An arrow between two steps, by their places in the definition.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Edge {
    from: usize,
    to: usize,
    /// The later one reads the earlier one's result; else it only comes after.
    reads: bool,
}

impl<'d> View<'d> {
    fn new(definition: &'d Description, state: Option<&'d State>) -> Self {
        Self { definition, state }
    }

    fn steps(&self) -> &'d [StepDescription] {
        &self.definition.steps
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.steps().iter().position(|step| step.name.as_str() == name)
    }

    /// The steps of a part directly in a scope, in the order of declaration.
    fn standing(&self, part: Part, within: Option<&str>) -> Vec<usize> {
        let fits = |step: &StepDescription| step.part == part && step.within.as_ref().map(|w| w.as_str()) == within;
        (0..self.steps().len()).filter(|&at| fits(&self.steps()[at])).collect()
    }

    /// Data flow and order. A step that leans on nothing within its branch or fan-out comes after its head.
    fn edges(&self) -> Vec<Edge> {
        let mut edges: Vec<Edge> = Vec::new();
        for (to, step) in self.steps().iter().enumerate() {
            let reads = step.reads.iter().filter_map(Reads::step).map(|from| (from, true));
            let after = step.after.iter().map(|from| (from, false));
            let named = reads.chain(after).filter_map(|(from, reads)| Some((self.place(from.as_str())?, reads)));
            for (from, reads) in named {
                if !edges.iter().any(|edge| edge.from == from && edge.to == to) {
                    edges.push(Edge { from, to, reads });
                }
            }
            let Some(head) = step.within.as_ref().and_then(|scope| self.place(scope.as_str())) else { continue };
            let inside =
                |edge: &Edge| edge.to == to && (edge.from == head || self.steps()[edge.from].within == step.within);
            if !edges.iter().any(inside) {
                edges.push(Edge { from: head, to, reads: false });
            }
        }
        edges
    }

    /// Steps of a part that nothing in the part leans on.
    fn last_of(&self, part: Part, edges: &[Edge]) -> Vec<usize> {
        let leant_on = |at: usize| edges.iter().any(|edge| edge.from == at && self.steps()[edge.to].part == part);
        let of = |&at: &usize| self.steps()[at].part == part && !self.steps()[at].is_pivot && !leant_on(at);
        (0..self.steps().len()).filter(of).collect()
    }

    /// Steps of a part that lean on nothing in it.
    fn first_of(&self, part: Part, edges: &[Edge]) -> Vec<usize> {
        let leans = |at: usize| edges.iter().any(|edge| edge.to == at && self.steps()[edge.from].part == part);
        (0..self.steps().len()).filter(|&at| self.steps()[at].part == part && !leans(at)).collect()
    }

    fn pivot(&self) -> Option<usize> {
        self.steps().iter().position(|step| step.is_pivot)
    }

    /// Kind and what it asks: `tcc orders.refund/1`, `child refund_money@1`, `signal orders.paid/1 to order`.
    fn what(step: &StepDescription) -> String {
        let mut text = match step.kind {
            StepKind::When => "branch".to_owned(),
            StepKind::ForEach => "for each".to_owned(),
            kind => kind.to_string(),
        };
        if let Some(contract) = &step.contract {
            text.push_str(&format!(" {contract}"));
        }
        match &step.saga {
            Some((saga, Some(version))) => text.push_str(&format!(" {saga}@{version}")),
            Some((saga, None)) => text.push_str(&format!(" to {saga}")),
            None => {}
        }
        if step.is_pivot && step.kind != StepKind::Pivot {
            text.push_str(", the pivot");
        }
        if let Some((saga, version)) = &step.undone_by {
            text.push_str(&format!(", undone by {saga}@{version}"));
        }
        text
    }

    fn live(&self, step: &StepDescription) -> Option<Live> {
        let state = self.state?;
        let instances: Vec<_> =
            state.steps.iter().filter(|(instance, _)| instance.step() == step.name.as_str()).collect();
        let looks: Vec<_> = instances.iter().map(|(_, at)| Look::of(at)).collect();
        let (look, word) = looks.iter().max().copied().unwrap_or((Look::Idle, ""));
        let many = self.in_fan_out(step);
        let word = if many { self.counted(state, step, &looks) } else { word.to_owned() };
        let flags = |at: &StepState| at.attention.is_some() || at.contradicted != (false, false);
        let why = instances.iter().find_map(|(_, at)| at.parked.as_ref()).map(ToString::to_string);
        let word = match instances.first() {
            Some((_, at)) if !many && at.kind == StepKind::ForEach => format!("{word}, {} items", at.items.len()),
            _ => word,
        };
        Some(Live { look, word, flagged: instances.iter().any(|(_, at)| flags(at)), why })
    }

    fn in_fan_out(&self, step: &StepDescription) -> bool {
        let scope = step.within.as_ref().and_then(|name| self.definition.step(name.as_str()));
        scope.is_some_and(|scope| scope.kind == StepKind::ForEach || self.in_fan_out(scope))
    }

    /// `3/5 done`, then whatever else there is: `1 parked`.
    fn counted(&self, state: &State, step: &StepDescription, looks: &[(Look, &'static str)]) -> String {
        let total = self.places(state, step);
        if total == 0 {
            return String::new();
        }
        let done = looks.iter().filter(|(look, _)| *look == Look::Done).count();
        let mut text = format!("{done}/{total} done");
        for look in Look::ALL.into_iter().rev().filter(|look| !matches!(look, Look::Done | Look::Idle)) {
            let count = looks.iter().filter(|(of, _)| *of == look).count();
            if count > 0 {
                text.push_str(&format!(", {count} {}", look.class()));
            }
        }
        text
    }

    /// How many instances of a step there will be, as far as its branches and fan-outs are decided.
    fn places(&self, state: &State, step: &StepDescription) -> usize {
        let Some(scope) = &step.within else { return 1 };
        let heads = state.steps.iter().filter(|(instance, _)| instance.step() == scope.as_str());
        heads.map(|(_, at)| if at.kind == StepKind::When { usize::from(at.taken) } else { at.items.len() }).sum()
    }

    /// The decision: what it was, or what it waits for.
    fn decision(&self) -> (Look, &'static str) {
        match self.state.map(|state| (state.life, state.abort.is_some())) {
            None => (Look::Idle, ""),
            Some((Life::Trying, false)) => (Look::Idle, "not yet"),
            Some((Life::Trying, true)) => (Look::Waiting, "abort wanted"),
            Some((Life::Confirming | Life::Confirmed, _)) => (Look::Done, "commit"),
            Some((Life::Cancelling | Life::Cancelled, _)) => (Look::Failed, "abort"),
        }
    }
}

/// The parts in the order of a life, with their titles and ids.
const PARTS: [(Part, &str, &str); 3] = [
    (Part::Trying, "trying", "before the decision"),
    (Part::Confirmed, "confirmed", "on confirmed"),
    (Part::Cancelled, "cancelled", "on cancelled"),
];

/// Every branch and fan-out is drawn around its steps.
fn is_scope(step: &StepDescription) -> bool {
    matches!(step.kind, StepKind::When | StepKind::ForEach)
}
