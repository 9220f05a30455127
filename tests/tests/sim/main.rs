//! What the simulator itself must be: repeatable to the last step, and unable to break a rule in a build that is not for it.

use std::{fs, path::Path};
use tercet_tests::sim::attempt;

#[test]
fn the_same_seed_gives_the_same_run_to_the_last_line() {
    let mut hashes = Vec::new();
    for seed in [3, 58, 1_234] {
        let (first, second) = (attempt(seed, true), attempt(seed, true));
        assert_eq!(first.violation, None, "seed {seed}");
        assert_eq!((first.steps, first.hash), (second.steps, second.hash), "seed {seed}");
        assert!(first.timeline.len() > 100, "seed {seed} has {} lines", first.timeline.len());
        assert!(first.timeline == second.timeline, "seed {seed}: the timelines differ");
        let untraced = attempt(seed, false);
        assert_eq!((first.steps, first.hash), (untraced.steps, untraced.hash), "seed {seed}: watching changes it");
        hashes.push(first.hash);
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 3, "different seeds give different runs");
}

/// The feature is off unless it is asked for: no default has it, and no dependency turns it on.
#[test]
fn no_release_can_break_a_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = 0;
    for folder in [
        "",
        "migrations",
        "orchestrator",
        "orchestrator/saga-core",
        "participants",
        "participants/participant-sdk",
        "tests",
        "workflows",
    ] {
        let manifest = fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
        for line in manifest.lines().filter(|line| line.contains("canary")) {
            let defines = line.starts_with("canary = [") || line == "required-features = [\"canary\"]";
            assert!(defines, "{folder}/Cargo.toml: {line}");
            found += 1;
        }
    }
    assert!(found >= 3, "the feature has another name now: {found}");
    #[cfg(not(feature = "canary"))]
    assert!(!tercet_core::canary::broken("absent_aborts"));
}
