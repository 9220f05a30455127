//! The definition as it is drawn. Set `TERCET_WRITE` to write the file anew.

use std::path::Path;
use tercet_core::graph;

#[test]
fn payment_is_drawn() {
    let drawn = graph::mermaid(&tercet_workflows::payment::payment().build().unwrap().describe(), None);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/payment.mmd");
    if std::env::var_os("TERCET_WRITE").is_some() {
        std::fs::write(&file, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(drawn, kept, "payment.mmd is drawn otherwise: look at it, then write it anew with TERCET_WRITE=1");
}
