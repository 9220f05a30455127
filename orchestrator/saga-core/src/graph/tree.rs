//! A tree of the definition for terminals.

use super::{PARTS, View};
use crate::{
    Description, State, StepName,
    definition::{Part, Reads},
};
use termtree::Tree;

/// The definition as a tree, parts first, with a saga's state over it as marks and words if there is one. `←` names what a step
/// reads, `⇠` what it only comes after.
#[must_use]
pub fn tree(definition: &Description, state: Option<&State>) -> String {
    let view = View::new(definition, state);
    let mut root = Tree::new(title(definition, state));
    for (part, _, title) in PARTS {
        if part == Part::Confirmed {
            let (look, word) = view.decision();
            let word = if word.is_empty() { String::new() } else { format!(": {} {word}", look.mark()) };
            let why =
                state.and_then(|state| state.abort.as_ref()).map(|why| format!(", {}", printable(&why.to_string())));
            root.push(Tree::new(format!("decision{word}{}", why.unwrap_or_default())));
        }
        let leaves: Vec<_> = view.standing(part, None).into_iter().map(|at| step(&view, at)).collect();
        if !leaves.is_empty() {
            root.push(Tree::new(title.to_owned()).with_leaves(leaves));
        }
    }
    root.to_string()
}

fn title(definition: &Description, state: Option<&State>) -> String {
    let name = format!("{}@{}", definition.name, definition.version);
    state.map_or(name.clone(), |state| {
        let parked = if state.parked().next().is_some() { ", parked" } else { "" };
        format!("{name} {}: {}{parked}", state.saga(), state.life.as_str())
    })
}

fn step(view: &View<'_>, at: usize) -> Tree<String> {
    let step = &view.steps()[at];
    let pivot = if step.is_pivot { "◆ " } else { "" };
    let mut text = format!("{pivot}{} ({})", step.name, View::what(step));
    if let Some(live) = view.live(step) {
        let why = live.why.map(|why| format!(": {}", printable(&why))).unwrap_or_default();
        let flag = if live.flagged { " ⚑" } else { "" };
        let colon = if live.word.is_empty() { "" } else { ": " };
        text = format!("{} {text}{colon}{}{why}{flag}", live.look.mark(), live.word);
    }
    let reads: Vec<&StepName> = step.reads.iter().filter_map(Reads::step).collect();
    text.push_str(&named(" ← ", &reads));
    text.push_str(&named(" ⇠ ", &step.after.iter().collect::<Vec<_>>()));
    let inner = view.standing(step.part, Some(step.name.as_str()));
    Tree::new(text).with_leaves(inner.into_iter().map(|at| self::step(view, at)))
}

fn named(arrow: &str, names: &[&StepName]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!("{arrow}{}", names.join(", ")) }
}

/// Reasons come from outside: nothing in them may move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
