//! The README says what is so: the refund saga as it stands in the code, and its drawing.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read is a failed test")]

use std::path::Path;
use tercet_core::graph;

#[test]
fn the_readme_quotes_the_refund_saga_as_it_stands() {
    let code = read("workflows/src/refund.rs");
    let from = code.find("pub fn refund()").unwrap();
    let definition = &code[from..];
    let definition = &definition[..definition.find("\n}\n").unwrap() + "\n}\n".len()];
    assert!(block("rust", "pub fn refund()") == definition, "write it into README.md anew:\n{definition}");
}

#[test]
fn the_readme_shows_the_refund_saga_as_it_is_drawn() {
    let refund = tercet_workflows::refund::refund().build().unwrap();
    let drawn = graph::mermaid(&refund.describe(), None);
    let drawn = format!("{}\n", drawn.trim_end());
    assert!(block("mermaid", "flowchart") == drawn, "write it into README.md anew:\n{drawn}");
}

#[test]
fn the_readme_quotes_the_crate_of_ones_own_as_it_stands() {
    let (readme, code) = (read("README.md"), read("tests/own-saga/src/main.rs"));
    let section = readme.split("## Your own saga in ten minutes").nth(1).unwrap().split("\n## ").next().unwrap();
    let quoted: Vec<_> = section.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(quoted.len(), 4, "an operation, a participant, a saga and a main");
    for quote in quoted {
        assert!(code.contains(quote), "this is not in tests/own-saga/src/main.rs:\n{quote}");
    }
}

#[test]
fn every_file_that_the_readme_links_to_is_there() {
    let readme = read("README.md");
    let links: Vec<&str> = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let gone: Vec<_> = links.iter().filter(|link| !link.contains("://") && !root().join(link).exists()).collect();
    assert!(links.len() > 3, "{links:?}");
    assert!(gone.is_empty(), "{gone:?}");
}

/// The README's block in that language that begins so.
fn block(language: &str, begins: &str) -> String {
    let readme = read("README.md");
    let fence = format!("```{language}\n");
    let blocks = readme.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    let found: Vec<_> = blocks.filter(|block| block.starts_with(begins)).collect();
    assert_eq!(found.len(), 1, "blocks in {language} that begin with {begins}");
    found[0].to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
