//! The definition as it is drawn. Set `TERCET_WRITE` to write the file anew.

use std::path::Path;
use tercet_core::{graph, lint::lint};

#[test]
fn create_order_is_drawn_and_nothing_about_it_is_odd() {
    let built = tercet_workflows::create_order::create_order().build().unwrap();
    let drawn = graph::mermaid(&built.describe(), None);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/create_order.mmd");
    if std::env::var_os("TERCET_WRITE").is_some() {
        std::fs::write(&file, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(drawn, kept, "create_order.mmd is drawn otherwise: look at it, then write it anew with TERCET_WRITE=1");
    assert_eq!(lint(&built), []);
}
