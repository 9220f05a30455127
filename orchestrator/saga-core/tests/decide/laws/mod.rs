//! Laws over generated definitions and faulty surroundings. A failing case prints its recipe and seed, and is kept in a file.

mod recipe;
mod world;

use insta::assert_snapshot;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use recipe::{Recipe, recipe};
use std::collections::BTreeSet;
use world::World;

fn ends(recipe: &Recipe, seed: u64) -> BTreeSet<String> {
    let graph = recipe.definition().build().unwrap();
    let mut world = World::new(&graph, seed);
    for _ in 0..60 {
        world.something_happens();
    }
    world.heal();
    world.nothing_hangs();
    world.a_person_decides();
    world.has_ended();
    world.met
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_laws_hold_and_every_saga_ends_when_faults_end(recipe in recipe(), seed in any::<u64>()) {
        ends(&recipe, seed);
    }
}

/// Worlds in which something never happens prove nothing about it.
#[test]
fn the_generated_worlds_meet_every_kind_of_fact() {
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeSet::new();
    for seed in 0..600 {
        let recipe = recipe().new_tree(&mut runner).unwrap().current();
        met.append(&mut ends(&recipe, seed));
    }
    let met: Vec<_> = met.into_iter().collect();
    assert_snapshot!(met.join(" "), @"AbortWanted Aborted Asked Attempted Branched Closing Committed Confirmed Contradicted Done Doubted Dropped EndedCancelled EndedConfirmed FannedOut Fencing Flagged Forced GaveUp Judged Missed NotNow Operated Parked Pending Queried Received Refused Resumed Settled Started Took Undoing Undone Unknown Waiting");
}
