//! The definitions as they are drawn: the README shows the first of these. Set `TERCET_WRITE` to write the files anew.

use std::path::Path;
use tercet_core::{graph, lint::lint};

/// Compares with a file beside the tests.
fn check(name: &str, drawn: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("TERCET_WRITE").is_some() {
        std::fs::write(&file, drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(drawn, kept, "{name} is drawn otherwise: look at it, then write it anew with TERCET_WRITE=1");
}

#[test]
fn refund_is_drawn_as_in_the_readme() {
    let refund = tercet_workflows::refund::refund().build().unwrap();
    check("refund.mmd", &graph::mermaid(&refund.describe(), None));
}

#[test]
fn refund_money_is_drawn() {
    let refund_money = tercet_workflows::refund_money::refund_money().build().unwrap();
    check("refund_money.mmd", &graph::mermaid(&refund_money.describe(), None));
}

#[test]
fn the_linter_finds_nothing_in_any_saga_of_the_registry() {
    let registry = tercet_workflows::registry().unwrap();
    let found: Vec<_> = registry.iter().flat_map(|graph| lint(graph)).map(|finding| format!("{finding:?}")).collect();
    assert_eq!(found, Vec::<String>::new());
    let names: Vec<_> = registry.iter().map(|graph| format!("{} {}", graph.name(), graph.version())).collect();
    assert_eq!(names, ["book_refunded 1", "create_order 1", "payment 1", "refund 1", "refund_money 1"]);
}
