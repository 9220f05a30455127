//! DOT, for Graphviz.

use super::{Edge, Look, PARTS, View, is_scope};
use crate::{Description, State, definition::Part};
use std::fmt::Write as _;

/// A directed graph of the definition, with a saga's state over it as colours if there is one.
#[must_use]
pub fn dot(definition: &Description, state: Option<&State>) -> String {
    let view = View::new(definition, state);
    let edges = view.edges();
    let mut out = format!("digraph \"{}@{}\" {{\n", quoted(definition.name.as_str()), definition.version);
    out.push_str("    graph [fontname=\"sans-serif\", rankdir=TB];\n");
    out.push_str("    node [fontname=\"sans-serif\", shape=box, style=\"rounded,filled\", fillcolor=\"#ffffff\"];\n");
    for (part, id, title) in PARTS {
        let steps = view.standing(part, None);
        if part == Part::Confirmed {
            decision(&view, &mut out);
        }
        if !steps.is_empty() {
            line(&mut out, 1, &format!("subgraph cluster_{id} {{"));
            line(&mut out, 2, &format!("label=\"{title}\";"));
            steps.iter().for_each(|&at| step(&view, at, 2, &mut out));
            line(&mut out, 1, "}");
        }
    }
    arrows(&view, &edges, &mut out);
    out.push_str("}\n");
    out
}

fn line(out: &mut String, depth: usize, text: &str) {
    let _ = writeln!(out, "{:width$}{text}", "", width = depth * 4);
}

fn colours(view: &View<'_>, look: Look) -> String {
    let (fill, border) = look.colours();
    view.state.map(|_| format!(", fillcolor=\"{fill}\", color=\"{border}\"")).unwrap_or_default()
}

fn decision(view: &View<'_>, out: &mut String) {
    let (look, word) = view.decision();
    let word = if word.is_empty() { String::new() } else { format!("\\n{word}") };
    line(out, 1, &format!("decision [label=\"decision{word}\", shape=hexagon{}];", colours(view, look)));
}

fn step(view: &View<'_>, at: usize, depth: usize, out: &mut String) {
    let step = &view.steps()[at];
    let mut label = format!("{}\\n{}", quoted(step.name.as_str()), quoted(&View::what(step)));
    let mut more = String::new();
    if let Some(live) = view.live(step) {
        let flag = if live.flagged { " ⚑" } else { "" };
        if !live.word.is_empty() || live.flagged {
            let _ = write!(label, "\\n{}{flag}", quoted(&live.word));
        }
        more.push_str(&colours(view, live.look));
        if let Some(why) = live.why {
            let _ = write!(more, ", tooltip=\"{}\"", quoted(&why));
        }
    }
    if step.is_pivot {
        more.push_str(", penwidth=3");
    }
    if !is_scope(step) {
        line(out, depth, &format!("s{at} [label=\"{label}\"{more}];"));
        return;
    }
    line(out, depth, &format!("subgraph cluster_{at} {{"));
    line(out, depth + 1, "label=\"\";");
    line(out, depth + 1, &format!("s{at} [label=\"{label}\", shape=diamond{more}];"));
    for inner in view.standing(step.part, Some(step.name.as_str())) {
        self::step(view, inner, depth + 1, out);
    }
    line(out, depth, "}");
}

fn arrows(view: &View<'_>, edges: &[Edge], out: &mut String) {
    for Edge { from, to, reads } in edges {
        line(out, 1, &format!("s{from} -> s{to}{};", if *reads { "" } else { " [style=dashed]" }));
    }
    let last = view.last_of(Part::Trying, edges);
    match view.pivot() {
        Some(pivot) => {
            let waits = |&at: &usize| !edges.iter().any(|edge| edge.from == at && edge.to == pivot);
            last.into_iter().filter(waits).for_each(|at| line(out, 1, &format!("s{at} -> s{pivot} [style=dashed];")));
            line(out, 1, &format!("s{pivot} -> decision [penwidth=3];"));
        }
        None => last.into_iter().for_each(|at| line(out, 1, &format!("s{at} -> decision [style=dashed];"))),
    }
    for (part, word) in [(Part::Confirmed, "commit"), (Part::Cancelled, "abort")] {
        for at in view.first_of(part, edges) {
            line(out, 1, &format!("decision -> s{at} [label=\"{word}\"];"));
        }
    }
}

/// What may stand between quotation marks in DOT.
fn quoted(text: &str) -> String {
    let one = |c: char| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}
