//! A saga that is right: every world passes, none is missing, and the report says how many there were.

use crate::toy::{Trip, trip, worlds};
use tercet_testing::Kind;

#[tokio::test]
async fn a_saga_that_is_right_ends_well_in_every_world() {
    let report = worlds(trip(), None).run().await;
    insta::assert_snapshot!(report, @r"
    `trip` ends well in every one of 161 worlds:
                        confirmed  undone
      clean                     1       1
      refused                   6       3
      doubled                   6       5
      repeated                  7       6
      lost call                 6       5
      lost reply                6       5
      late call                 6       5
      late reply                6       5
      not now                   6       5
      no responder              6       5
      crash at a call          12      10
      crash at a write         10      14
      cancelled                 5       7
      overtaken                 2       0
    ");
}

#[tokio::test]
async fn a_kind_that_is_left_out_is_said_to_be() {
    let report = worlds(trip(), None).without(Kind::LostReply).run().await;
    assert_eq!(report.of(Kind::LostReply), 0);
    assert!(report.to_string().contains("left out"), "{report}");
}

#[test]
#[should_panic(expected = "no definition `tripp` is in the registry; there are: trip")]
fn a_definition_that_is_not_there_is_said_so() {
    drop(tercet_testing::worlds(trip()).saga("tripp", &Trip { guest: "Ann".to_owned() }));
}

#[test]
#[should_panic(expected = "`trip` has no step `hotell`; it has: flight, hotel, pay, tell, apologise")]
fn a_step_that_is_not_there_is_said_so() {
    drop(worlds(trip(), None).may_park("hotell"));
}
