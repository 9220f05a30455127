//! Sagas and participants that are wrong on purpose: each is caught, by the kind of world that its flaw is for.

use crate::toy::{Flaw, trip, trip_whose_apology_panics, worlds};
use std::collections::BTreeSet;

async fn caught(flaw: Flaw) -> String {
    worlds(trip(), Some(flaw)).try_run().await.unwrap_err()
}

/// Which world was shown and what was wrong with it, and the kinds of the others; without the timeline.
fn shown(said: &str) -> String {
    let lines: Vec<_> = said.lines().collect();
    let wrong = lines.iter().filter(|line| line.starts_with("  - "));
    let others = lines.iter().skip_while(|line| **line != "the others:").skip(1);
    let kinds: BTreeSet<_> = others.filter_map(|line| line.split_once(": ")).map(|(kind, _)| kind.trim()).collect();
    let mut shown = vec![lines[2].to_owned()];
    shown.extend(wrong.map(ToString::to_string));
    shown.push(Vec::from_iter(kinds).join("; "));
    shown.join("\n")
}

#[tokio::test]
async fn a_participant_without_a_barrier() {
    insta::assert_snapshot!(shown(&caught(Flaw::NoBarrier).await), @r#"
      doubled: hotel try #1
      - the try of hotel was answered `done {"number":1}`, and when it was repeated `done {"number":2}`; is there no barrier?
      - the slate is not clean: rooms held: 1, and 0 should be
    crash at a call; crash at a write; doubled; late call; late reply; lost reply; repeated; undone, crash at a call; undone, crash at a write; undone, doubled; undone, late call; undone, late reply; undone, lost reply; undone, repeated
    "#);
}

#[tokio::test]
async fn a_cancel_that_does_not_undo() {
    insta::assert_snapshot!(shown(&caught(Flaw::NoUndo).await), @r"
    undone
    - the slate is not clean: rooms held: 1, and 0 should be
    ");
}

#[tokio::test]
async fn a_confirm_that_fails_when_it_is_repeated_is_shown_as_a_timeline() {
    insta::assert_snapshot!(caught(Flaw::ConfirmsOnce).await, @r#"
    `trip` goes wrong in 7 of 161 worlds. The first of them:

      doubled: hotel confirm #1

      - the confirm of hotel was answered `done`, and when it was repeated `refused no_hold: nothing is held`; is there no barrier?

      0:00.000  trip                        write 1: started {"guest":"Ann"}; flight asked
                trip  flight  try #1        asked {"guest":"Ann"}
                trip  flight  try #1        done {"number":1}
                trip                        write 2: flight done; hotel asked
                trip  hotel   try #1        asked {"guest":"Ann"}
                trip  hotel   try #1        done {"number":1}
                trip                        write 3: hotel done; pay asked
                trip  pay     try #1        asked {"guest":"Ann"}
                trip  pay     try #1        done
                trip                        write 4: pay done; COMMIT; tell asked
                trip  flight  confirm #1    asked
                trip  flight  confirm #1    done
                trip  hotel   confirm #1    asked
                trip  hotel   confirm #1  ✗ it arrives twice at once
                trip  hotel   confirm #1    done
                trip  hotel   confirm #1  ✗ its copy: refused no_hold: nothing is held
                trip  tell    try #1        asked "Ann may go"
                trip  tell    try #1        done
                trip                        write 5: flight confirmed; hotel confirmed; tell done; ended confirmed
                                            at rest, confirmed

      to run this world alone: TERCET_WORLD='doubled: hotel confirm #1' cargo test …

    the others:
      repeated: hotel confirm #1: the confirm of hotel was answered `done`, and when it was repeated `refused no_hold: nothing is held`; is there no barrier?
      lost reply: hotel confirm #1: it is parked: trip/hotel: its confirm was refused: no_hold: nothing is held
      late call: hotel confirm #1: a participant contradicts itself about trip/hotel: what it vouched for came out otherwise
      crash at a call: hotel confirm #1 not answered: it is parked: trip/hotel: its confirm was refused: no_hold: nothing is held
      crash at a write: before write 5: it is parked: trip/hotel: its confirm was refused: no_hold: nothing is held
      repeated: every call after the end: the confirm of hotel was answered `done`, and when it was repeated `refused no_hold: nothing is held`; is there no barrier?
    "#);
}

#[tokio::test]
async fn a_step_that_forgets_a_hold_when_its_reply_is_lost() {
    insta::assert_snapshot!(shown(&caught(Flaw::Forgets).await), @r#"
      doubled: hotel try #1
      - the try of hotel was answered `done {"number":1}`, and when it was repeated `done {"number":2}`; is there no barrier?
      - the slate is not clean: rooms held: 1, and 0 should be
    crash at a call; crash at a write; late reply; lost reply; repeated; undone, crash at a call; undone, crash at a write; undone, doubled; undone, late reply; undone, lost reply; undone, repeated
    "#);
}

#[tokio::test]
async fn a_cancel_that_forgets_that_it_came_first() {
    insta::assert_snapshot!(shown(&caught(Flaw::Overtaken).await), @r"
    overtaken: hotel try #1
    - the slate is not clean: rooms held: 1, and 0 should be
    ");
}

#[tokio::test]
async fn a_mail_that_is_sent_twice() {
    insta::assert_snapshot!(shown(&caught(Flaw::TellsTwice).await), @r"
      doubled: tell try #1
      - the slate is not clean: mails sent: 2, and 1 should be
    crash at a call; crash at a write; late call; late reply; lost reply; repeated; undone, crash at a call; undone, crash at a write; undone, doubled; undone, late call; undone, late reply; undone, lost reply; undone, repeated
    ");
}

#[tokio::test]
async fn a_mapper_that_panics_when_cancelling() {
    let said = worlds(trip_whose_apology_panics(), None).try_run().await.unwrap_err();
    insta::assert_snapshot!(shown(&said), @r"
    undone
    - it is parked: trip/apologise: its request could not be made: mapper_panicked: nobody is to blame
    - the slate is not clean: mails sent: 0, and 1 should be
    ");
}
