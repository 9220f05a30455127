//! Mermaid: what README, documentation and the operator page show.

use super::{Edge, Look, PARTS, View, is_scope};
use crate::{Description, State, definition::Part};
use std::fmt::Write as _;

/// A flowchart of the definition, with a saga's state over it as classes if there is one.
///
/// ```
/// # use tercet_core::{Operation, Saga, kind, graph};
/// # struct Hold;
/// # impl Operation for Hold {
/// #     const NAME: &'static str = "bank.hold/1";
/// #     type Kind = kind::Tcc;
/// #     type Request = i64;
/// #     type Reply = i64;
/// # }
/// let saga = Saga::<i64>::new("small", 1);
/// saga.tcc("hold", Hold).request(saga.input(), |n| n);
/// let drawn = graph::mermaid(&saga.output((), |()| 0).build().unwrap().describe(), None);
/// assert!(drawn.starts_with("flowchart TB\n"));
/// assert!(drawn.contains(r#"s0["hold<br/>tcc bank.hold/1"]"#));
/// ```
#[must_use]
pub fn mermaid(definition: &Description, state: Option<&State>) -> String {
    let view = View::new(definition, state);
    let edges = view.edges();
    let mut out = String::from("flowchart TB\n");
    for (part, id, title) in PARTS {
        let steps = view.standing(part, None);
        if part == Part::Confirmed {
            decision(&view, &mut out);
        }
        if !steps.is_empty() {
            line(&mut out, 1, &format!("subgraph {id}[\"{title}\"]"));
            steps.iter().for_each(|&at| step(&view, at, 2, &mut out));
            line(&mut out, 1, "end");
        }
    }
    arrows(&view, &edges, &mut out);
    for look in Look::ALL.into_iter().filter(|_| state.is_some()) {
        let (fill, border) = look.colours();
        line(&mut out, 1, &format!("classDef {} fill:{fill},stroke:{border},color:#1b1f24", look.class()));
    }
    out
}

fn line(out: &mut String, depth: usize, text: &str) {
    let _ = writeln!(out, "{:width$}{text}", "", width = depth * 4);
}

fn decision(view: &View<'_>, out: &mut String) {
    let (look, word) = view.decision();
    let word = if word.is_empty() { String::new() } else { format!("<br/>{word}") };
    line(out, 1, &format!("decision{{{{\"decision{word}\"}}}}{}", class(view, look)));
}

fn class(view: &View<'_>, look: Look) -> String {
    view.state.map(|_| format!(":::{}", look.class())).unwrap_or_default()
}

fn step(view: &View<'_>, at: usize, depth: usize, out: &mut String) {
    let step = &view.steps()[at];
    let mut label = format!("{}<br/>{}", escaped(step.name.as_str()), escaped(&View::what(step)));
    let mut classes = String::new();
    if let Some(live) = view.live(step) {
        let flag = if live.flagged { " ⚑" } else { "" };
        if !live.word.is_empty() || live.flagged {
            let _ = write!(label, "<br/>{}{flag}", escaped(&live.word));
        }
        classes = class(view, live.look);
    }
    if !is_scope(step) {
        let (open, close) = if step.is_pivot { ("([", "])") } else { ("[", "]") };
        line(out, depth, &format!("s{at}{open}\"{label}\"{close}{classes}"));
        return;
    }
    line(out, depth, &format!("subgraph g{at}[\" \"]"));
    line(out, depth + 1, &format!("s{at}{{\"{label}\"}}{classes}"));
    for inner in view.standing(step.part, Some(step.name.as_str())) {
        self::step(view, inner, depth + 1, out);
    }
    line(out, depth, "end");
}

fn arrows(view: &View<'_>, edges: &[Edge], out: &mut String) {
    for Edge { from, to, reads } in edges {
        line(out, 1, &format!("s{from} {} s{to}", if *reads { "-->" } else { "-.->" }));
    }
    let last = view.last_of(Part::Trying, edges);
    match view.pivot() {
        Some(pivot) => {
            let waits = |&at: &usize| !edges.iter().any(|edge| edge.from == at && edge.to == pivot);
            last.into_iter().filter(waits).for_each(|at| line(out, 1, &format!("s{at} -.-> s{pivot}")));
            line(out, 1, &format!("s{pivot} ==> decision"));
            line(out, 1, &format!("class s{pivot} pivot"));
            line(out, 1, "classDef pivot stroke-width:3px");
        }
        None => last.into_iter().for_each(|at| line(out, 1, &format!("s{at} -.-> decision"))),
    }
    for (part, word) in [(Part::Confirmed, "commit"), (Part::Cancelled, "abort")] {
        for at in view.first_of(part, edges) {
            line(out, 1, &format!("decision -- {word} --> s{at}"));
        }
    }
}

/// Mermaid reads HTML entities written with `#` in quoted labels.
fn escaped(text: &str) -> String {
    let one = |c: char| match c {
        '"' => "#quot;".to_owned(),
        '<' => "#lt;".to_owned(),
        '>' => "#gt;".to_owned(),
        '#' => "#35;".to_owned(),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}
