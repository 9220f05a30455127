//! The pivot: money that may have moved. Each rule of DESIGN's section, and each trace of MONEY-MODEL's M2, with a test of its own.

use crate::support::*;
use insta::assert_snapshot;
use tercet_core::{Definition, OnExhausted, OnRefused, Retry, Saga, hours, minutes, seconds};

macro_rules! paying { ($name:ident $op:ident $(.$method:ident($($arg:expr),*))*) => {
    fn $name() -> Definition<i64, i64> {
        let saga = Saga::<i64>::new("pay", 1).deadline(hours(1));
        let hold = saga.tcc("hold", Hold).request(saga.input(), it);
        let money = saga.pivot("money", $op).undone_by(give_back, |(asked, paid)| asked + paid)$(.$method($($arg),*))*.request(hold, it);
        saga.output(money, it)
    }
} }

fn give_back() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("give_back", 3);
    let back = saga.pivot("back", Pay).request(saga.input(), it);
    saga.output(back, it)
}

paying!(plain Pay);
paying!(closing PayClosing.query_limit(2));
paying!(link PayLink);
paying!(blind PayBlind);
paying!(impatient Pay.query_limit(2));
paying!(kept Pay.on_refused(OnRefused::Park));
paying!(stubborn Pay.on_exhausted(OnExhausted::Abort).retry(Retry::backoff(seconds(1), seconds(2)).attempts(2)));

/// Everything behind `hold try done`.
fn pay(definition: Definition<i64, i64>, script: &str) -> String {
    let out = run(definition, &format!("hold try done 7\n{script}"));
    out.split_once("asks money").map(|(_, rest)| format!("asks money{rest}")).unwrap()
}

#[test]
fn an_unknown_outcome_is_queried_and_never_aborts() {
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        +60 money query silent
        +60 money query pending 1
        +60 money query retry busy
        +60 money query done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +60 money query silent: money queried: no answer in time until 130s
        deadline at 3600s, query money#1 at 130s
    +60 money query pending 1: money queried: it is still under way until 190s
        deadline at 3600s, query money#1 at 190s
    +60 money query retry busy: money queried: busy until 250s
        deadline at 3600s, query money#1 at 250s
    +60 money query done 7: money done 7; COMMIT
        confirm hold reply 7
    ");
}

#[test]
fn m2_absent_is_no_reason_to_abort_it_allows_the_same_key_again() {
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        +60 money query absent
        money try#1 done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +60 money query absent: money queried: nothing is known under its key; asks money#2
        deadline at 3600s, try money#2
    money try#1 done 7: money done 7; COMMIT
        confirm hold reply 7
    ");
}

#[test]
fn a_query_that_finds_a_final_failure_is_definite() {
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        +60 money query refused failed
        hold undo done
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +60 money query refused failed: money refused failed; ABORT: `money` was refused: failed: no; undoes hold
        undo hold reply 7
    hold undo done: hold undone; CANCELLED
    ");
}

#[test]
fn m2_3_a_refusal_is_not_done_only_if_no_other_attempt_is_unanswered() {
    // Executes 1 and 2 are out, 1 is refused, 2 lands.
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        +60 money query absent
        money try#1 refused empty
        money try#1 refused empty
        money try#2 done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +60 money query absent: money queried: nothing is known under its key; asks money#2
        deadline at 3600s, try money#2
    money try#1 refused empty: money#1 refusal doubted until 130s
        deadline at 3600s, query money#2 at 130s
    money try#1 refused empty: nothing
    money try#2 done 7: money done 7; COMMIT
        confirm hold reply 7
    ");
    // Both are refused: then it is.
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        +60 money query absent
        money try#2 refused empty
        money try#1 refused empty
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +60 money query absent: money queried: nothing is known under its key; asks money#2
        deadline at 3600s, try money#2
    money try#2 refused empty: money#2 refusal doubted until 130s
        deadline at 3600s, query money#2 at 130s
    money try#1 refused empty: money refused empty; ABORT: `money` was refused: empty: no; undoes hold
        undo hold reply 7
    ");
}

#[test]
fn m2_4_a_doubled_refusal_of_one_attempt_does_not_speak_for_another() {
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        +60 money query absent
        +10 money try#2 silent
        money try#2 refused empty
        money try#2 refused empty
        +60 money query done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +60 money query absent: money queried: nothing is known under its key; asks money#2
        deadline at 3600s, try money#2
    +10 money try#2 silent: money unknown until 140s
        deadline at 3600s, query money#2 at 140s
    money try#2 refused empty: money#2 refusal doubted
        deadline at 3600s, query money#2 at 140s
    money try#2 refused empty: nothing
    +60 money query done 7: money done 7; COMMIT
        confirm hold reply 7
    ");
}

#[test]
fn m2_5_a_fence_answers_no_copy_of_an_attempt_that_is_under_way() {
    // The participant's part is in its barrier; the core's: a fence that finds the attempt under way settles nothing, and a refusal
    // that follows it is the attempt's own.
    assert_snapshot!(pay(plain(), "
        op money not_done
        +1 money query pending 1
        money try done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    op money not_done: bob MarkNotDone money; fences money
        deadline at 3600s, query money#1 at 1ms fencing
    +1 money query pending 1: money queried: it is still under way; PARKS money: not done could not be proved: an attempt is unanswered
        deadline at 3600s
    money try done 7: money done 7; COMMIT
        confirm hold reply 7
    ");
}

#[test]
fn m2_6_mark_not_done_is_believed_only_when_the_fencing_query_finds_nothing_under_way() {
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        op money not_done
        +1 money query pending 1
        op money not_done
        +1 money query silent
        op money not_done
        +1 money query absent
        hold undo done
        money try done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    op money not_done: bob MarkNotDone money; fences money
        deadline at 3600s, query money#1 at 10001ms fencing
    +1 money query pending 1: money queried: it is still under way; PARKS money: not done could not be proved: an attempt is unanswered
        deadline at 3600s
    op money not_done: bob MarkNotDone money; fences money
        deadline at 3600s, query money#1 at 11001ms fencing
    +1 money query silent: money queried: no answer in time; PARKS money: not done could not be proved: an attempt is unanswered
        deadline at 3600s
    op money not_done: bob MarkNotDone money; fences money
        deadline at 3600s, query money#1 at 12001ms fencing
    +1 money query absent: money refused marked_not_done; ABORT: `money` was refused: marked_not_done: a person marked it not done, and a query fenced every attempt; undoes hold
        undo hold reply 7
    hold undo done: hold undone; CANCELLED
    money try done 7: CONTRADICTED money done 7 undo 14 saga give_back@3/me/money
        sends a taking back: 14 saga give_back@3/me/money
    ");
}

#[test]
fn m2_6b_a_forced_not_done_goes_on_being_queried_until_something_is_definite() {
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        op money force
        hold undo done
        +60 money query absent
        +60 money query silent
        +60 money query done 7
        money query done 7
        money query refused failed
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    op money force: bob MarkNotDone money; money refused marked_not_done; ABORT: `money` was refused: marked_not_done: looked; money forced until 70s; undoes hold
        undo hold reply 7, query money#1 at 70s
    hold undo done: hold undone; CANCELLED
        query money#1 at 70s
    +60 money query absent: money queried: nothing is known under its key until 130s
        query money#1 at 130s
    +60 money query silent: money queried: no answer in time until 190s
        query money#1 at 190s
    +60 money query done 7: CONTRADICTED money done 7 undo 14 saga give_back@3/me/money
        sends a taking back: 14 saga give_back@3/me/money
    money query done 7: nothing
    money query refused failed: nothing
    ");
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        op money force
        hold undo done
        +60 money query refused failed
        money query refused failed
        money try done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    op money force: bob MarkNotDone money; money refused marked_not_done; ABORT: `money` was refused: marked_not_done: looked; money forced until 70s; undoes hold
        undo hold reply 7, query money#1 at 70s
    hold undo done: hold undone; CANCELLED
        query money#1 at 70s
    +60 money query refused failed: money settled
    money query refused failed: nothing
    money try done 7: CONTRADICTED money done 7 undo 14 saga give_back@3/me/money
        sends a taking back: 14 saga give_back@3/me/money
    ");
}

#[test]
fn m2_7_a_close_of_a_key_that_nobody_knows_is_asked_again_and_then_parks() {
    assert_snapshot!(pay(closing(), "
        +10 money try silent
        +3590 deadline
        money close retry unknown_key
        +1 money close retry unknown_key
        +2 money close silent
        op money close
        money close closed
        hold undo done
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +3590 deadline: abort wanted: its deadline passed; closes money until 3600s
        close money#1 at 3600s
    money close retry unknown_key: closes money until 3601s
        close money#1 at 3601s
    +1 money close retry unknown_key: closes money until 3603s
        close money#1 at 3603s
    +2 money close silent: PARKS money: no definite answer in all attempts and queries allowed: it could not be closed: no answer in time
    op money close: bob Close money; closes money until 3603s
        close money#1 at 3603s
    money close closed: money refused closed; ABORT: its deadline passed; undoes hold
        undo hold reply 7
    hold undo done: hold undone; CANCELLED
    ");
}

#[test]
fn a_deadline_with_the_pivot_out_closes_it_and_closed_is_not_done() {
    assert_snapshot!(pay(closing(), "
        +3600 deadline
        money close closed
        hold undo done
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +3600 deadline: abort wanted: its deadline passed; closes money until 3600s
        close money#1 at 3600s
    money close closed: money refused closed; ABORT: its deadline passed; undoes hold
        undo hold reply 7
    hold undo done: hold undone; CANCELLED
    ");
    assert_snapshot!(pay(closing(), "
        +3600 deadline
        deadline
        money close done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +3600 deadline: abort wanted: its deadline passed; closes money until 3600s
        close money#1 at 3600s
    deadline: nothing
    money close done 7: money done 7; COMMIT
        confirm hold reply 7
    ");
}

#[test]
fn m2_a_deadline_or_a_cancel_with_a_pivot_out_that_cannot_be_closed_waits_for_its_outcome() {
    assert_snapshot!(pay(plain(), "
        cancel
        +10 money try silent
        +60 money query absent
        +3600 deadline
        money query done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    cancel: abort wanted: ann asked for it: changed her mind
        try money#1
    +10 money try silent: money unknown until 70s
        query money#1 at 70s
    +60 money query absent: money queried: nothing is known under its key until 130s
        query money#1 at 130s
    +3600 deadline: nothing
    money query done 7: money done 7; COMMIT
        confirm hold reply 7
    ");
    assert_snapshot!(pay(plain(), "
        cancel
        cancel
        money try refused empty
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    cancel: abort wanted: ann asked for it: changed her mind
        try money#1
    cancel: nothing
    money try refused empty: money refused empty; ABORT: ann asked for it: changed her mind; undoes hold
        undo hold reply 7
    ");
}

#[test]
fn a_cancel_while_nothing_is_out_aborts_at_once() {
    assert_snapshot!(pay(plain(), "
        money try retry busy
        cancel
        money try done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try retry busy: money#1 not now until 1s
        deadline at 3600s, wake money at 1s
    cancel: ABORT: ann asked for it: changed her mind; undoes hold
        undo hold reply 7
    money try done 7: CONTRADICTED money done 7 undo 14 saga give_back@3/me/money
        sends a taking back: 14 saga give_back@3/me/money
        undo hold reply 7
    ");
    assert_snapshot!(pay(plain(), "
        cancel
        money try retry busy
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    cancel: abort wanted: ann asked for it: changed her mind
        try money#1
    money try retry busy: money#1 not now; money refused not_now; ABORT: ann asked for it: changed her mind; undoes hold
        undo hold reply 7
    ");
}

#[test]
fn m2_exhausted_polling_parks_or_closes_and_never_aborts() {
    assert_snapshot!(pay(impatient(), "
        +10 money try silent
        +60 money query pending 1
        +60 money query pending 1
        money query done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +60 money query pending 1: money queried: it is still under way until 130s
        deadline at 3600s, query money#1 at 130s
    +60 money query pending 1: money queried: it is still under way; PARKS money: no definite answer in all attempts and queries allowed: queried 2 times; at last: it is still under way
        deadline at 3600s
    money query done 7: money done 7; COMMIT
        confirm hold reply 7
    ");
    assert_snapshot!(pay(closing(), "
        +10 money try silent
        +60 money query pending 1
        +60 money query silent
        money close retry busy
        +1 money close closed
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +60 money query pending 1: money queried: it is still under way until 130s
        deadline at 3600s, query money#1 at 130s
    +60 money query silent: money queried: no answer in time; closes money until 130s
        deadline at 3600s, close money#1 at 130s
    money close retry busy: closes money until 131s
        deadline at 3600s, close money#1 at 131s
    +1 money close closed: money refused closed; ABORT: `money` was refused: closed: the third party closed it: nothing was done; undoes hold
        undo hold reply 7
    ");
}

#[test]
fn a_pivot_without_a_query_parks_when_it_is_unknown() {
    assert_snapshot!(pay(blind(), "
        +10 money try silent
        op money query
        op money retry
        money try#2 refused empty
        op money not_done
        op money force
        money try#1 done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown; PARKS money: no definite answer in all attempts and queries allowed: no answer in time
        deadline at 3600s
    op money query: illegal: step `money` does not offer that now
    op money retry: bob RetryNow money; asks money#2
        deadline at 3600s, try money#2
    money try#2 refused empty: money#2 refusal doubted; PARKS money: no definite answer in all attempts and queries allowed: empty: no
        deadline at 3600s
    op money not_done: bob MarkNotDone money; fences money; PARKS money: not done could not be proved: an attempt is unanswered
        deadline at 3600s
    op money force: bob MarkNotDone money; money refused marked_not_done; ABORT: `money` was refused: marked_not_done: looked; money forced; undoes hold
        undo hold reply 7
    money try#1 done 7: CONTRADICTED money done 7 undo 14 saga give_back@3/me/money
        sends a taking back: 14 saga give_back@3/me/money
        undo hold reply 7
    ");
}

#[test]
fn not_now_waits_and_tries_the_same_key_again() {
    assert_snapshot!(pay(plain(), "
        money try retry busy 30
        money try#1 retry busy 30
        wake money
        +30 wake money
        money try retry busy
        +2 wake money
        money try done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try retry busy 30: money#1 not now until 30s
        deadline at 3600s, wake money at 30s
    money try#1 retry busy 30: nothing
    wake money: nothing
    +30 wake money: asks money#2
        deadline at 3600s, try money#2
    money try retry busy: money#2 not now until 32s
        deadline at 3600s, wake money at 32s
    +2 wake money: asks money#3
        deadline at 3600s, try money#3
    money try done 7: money done 7; COMMIT
        confirm hold reply 7
    ");
}

#[test]
fn not_now_while_another_attempt_is_out_is_queried_not_asked_in_a_circle() {
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        +60 money query absent
        money try#2 retry busy
        +60 money query done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +60 money query absent: money queried: nothing is known under its key; asks money#2
        deadline at 3600s, try money#2
    money try#2 retry busy: money#2 not now; money unknown until 130s
        deadline at 3600s, query money#2 at 130s
    +60 money query done 7: money done 7; COMMIT
        confirm hold reply 7
    ");
}

#[test]
fn a_pivot_that_is_exhausted_with_nothing_out_aborts_if_its_policy_says_so() {
    assert_snapshot!(pay(stubborn(), "
        money try retry busy
        +1 wake money
        money try retry busy
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try retry busy: money#1 not now until 1s
        deadline at 3600s, wake money at 1s
    +1 wake money: asks money#2
        deadline at 3600s, try money#2
    money try retry busy: money#2 not now; money refused exhausted; ABORT: `money` had no definite answer in all its attempts: busy; undoes hold
        undo hold reply 7
    ");
    assert_snapshot!(pay(stubborn(), "
        +10 money try silent
        +60 money query absent
        money try retry busy
        +60 money query absent
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    +60 money query absent: money queried: nothing is known under its key; asks money#2
        deadline at 3600s, try money#2
    money try retry busy: money#2 not now; money unknown until 130s
        deadline at 3600s, query money#2 at 130s
    +60 money query absent: money queried: nothing is known under its key until 190s
        deadline at 3600s, query money#2 at 190s
    ");
}

#[test]
fn an_expiry_makes_absent_final_after_it_and_a_margin() {
    assert_snapshot!(pay(link(), "
        money try pending \"https://pay/1\"
        +60 money query absent
        money try#2 pending \"https://pay/1\"
        +300 money query absent
        +60 money query absent issued=370
        +60 money query absent
        hold undo done
    "), @r#"
    asks money 7 expires=300s
        deadline at 3600s, try money#1
    money try pending "https://pay/1": money pending "https://pay/1" until 60s
        deadline at 3600s, query money#1 at 60s
    +60 money query absent: money queried: nothing is known under its key; asks money#2
        deadline at 3600s, try money#2
    money try#2 pending "https://pay/1": money pending "https://pay/1" until 120s
        deadline at 3600s, query money#2 at 120s
    +300 money query absent: money queried: nothing is known under its key until 420s
        deadline at 3600s, query money#2 at 420s
    +60 money query absent issued=370: nothing
    +60 money query absent: money refused expired; ABORT: `money` was refused: expired: its lifetime at the third party is over, and nothing is known of it; undoes hold
        undo hold reply 7
    hold undo done: hold undone; CANCELLED
    "#);
}

#[test]
fn an_effect_whose_lifetime_is_over_and_of_which_nothing_is_out_is_not_done() {
    assert_snapshot!(pay(link(), "
        +299 money try retry busy
        +1 wake money
        money try retry its_lifetime_has_passed
    "), @"
    asks money 7 expires=300s
        deadline at 3600s, try money#1
    +299 money try retry busy: money#1 not now until 300s
        deadline at 3600s, wake money at 300s
    +1 wake money: asks money#2
        deadline at 3600s, try money#2
    money try retry its_lifetime_has_passed: money#2 not now; money refused expired; ABORT: `money` was refused: expired: its lifetime at the third party is over, and nothing is known of it; undoes hold
        undo hold reply 7
    ");
}

#[test]
fn money_that_is_not_ours_parks_when_it_is_refused_and_a_person_decides() {
    assert_snapshot!(pay(kept(), "
        money try refused account_closed
        money try refused account_closed
        op money retry
        money try#2 refused account_closed
        op money query
        money query refused account_closed
        op money not_done
        hold undo done
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try refused account_closed: PARKS money: its try was refused: account_closed: no
        deadline at 3600s
    money try refused account_closed: nothing
    op money retry: bob RetryNow money; asks money#2
        deadline at 3600s, try money#2
    money try#2 refused account_closed: PARKS money: its try was refused: account_closed: no
        deadline at 3600s
    op money query: bob QueryNow money; resumes money; money unknown until 0s
        deadline at 3600s, query money#2
    money query refused account_closed: PARKS money: its try was refused: account_closed: no
        deadline at 3600s
    op money not_done: bob MarkNotDone money; money refused marked_not_done; ABORT: `money` was refused: marked_not_done: looked; undoes hold
        undo hold reply 7
    hold undo done: hold undone; CANCELLED
    ");
}

#[test]
fn a_deadline_does_not_decide_about_money_that_is_not_ours_a_person_does() {
    assert_snapshot!(pay(kept(), "
        money try refused account_closed
        +3600 deadline
        cancel
        op money retry
        money try refused account_closed
        op money not_done
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try refused account_closed: PARKS money: its try was refused: account_closed: no
        deadline at 3600s
    +3600 deadline: abort wanted: its deadline passed
    cancel: nothing
    op money retry: bob RetryNow money; asks money#2
        try money#2
    money try refused account_closed: PARKS money: its try was refused: account_closed: no
    op money not_done: bob MarkNotDone money; money refused marked_not_done; ABORT: its deadline passed; undoes hold
        undo hold reply 7
    ");
    assert_snapshot!(pay(kept(), "
        money try refused account_closed
        cancel
        hold undo done
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try refused account_closed: PARKS money: its try was refused: account_closed: no
        deadline at 3600s
    cancel: ABORT: ann asked for it: changed her mind; undoes hold
        undo hold reply 7
    hold undo done: hold undone; CANCELLED
    ");
}

#[test]
fn a_person_marks_it_done_and_late_evidence_to_the_contrary_is_kept_once() {
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        op money done 7
        hold confirm done
        money try refused empty
        money query refused failed
        money try done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    op money done 7: bob MarkDone money; money done 7; COMMIT
        confirm hold reply 7
    hold confirm done: hold confirmed; CONFIRMED 7
    money try refused empty: CONTRADICTED money not done empty
    money query refused failed: nothing
    money try done 7: nothing
    ");
}

#[test]
fn what_is_known_as_not_done_is_marked_done_by_force_alone_and_stays_contradicted() {
    assert_snapshot!(pay(kept(), "
        money try refused empty
        op money done 7
        op money force_done 7
        hold confirm done
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try refused empty: PARKS money: its try was refused: empty: no
        deadline at 3600s
    op money done 7: illegal: step `money` is known as not done: empty: no
    op money force_done 7: bob MarkDone money; money done 7; CONTRADICTED money not done empty; COMMIT
        confirm hold reply 7
    hold confirm done: hold confirmed; CONFIRMED 7
    ");
    // Every attempt vouches that nothing happened: that is as definite.
    assert_snapshot!(pay(plain(), "
        money try retry poor
        op money force_done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try retry poor: money#1 not now until 1s
        deadline at 3600s, wake money at 1s
    op money force_done 7: bob MarkDone money; money done 7; CONTRADICTED money not done nothing_done; COMMIT
        confirm hold reply 7
    ");
    // Nobody knows: what a person says is all there is.
    assert_snapshot!(pay(plain(), "
        +10 money try silent
        op money force_done 7
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    op money force_done 7: bob MarkDone money; money done 7; COMMIT
        confirm hold reply 7
    ");
}

#[test]
fn done_after_not_done_is_a_contradiction_once_and_starts_what_takes_it_back_under_the_effects_key() {
    assert_snapshot!(pay(plain(), "
        money try refused empty
        hold undo done
        money try done 7
        money try done 7
        money query done 7
        money try refused empty
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try refused empty: money refused empty; ABORT: `money` was refused: empty: no; undoes hold
        undo hold reply 7
    hold undo done: hold undone; CANCELLED
    money try done 7: CONTRADICTED money done 7 undo 14 saga give_back@3/me/money
        sends a taking back: 14 saga give_back@3/me/money
    money try done 7: nothing
    money query done 7: nothing
    money try refused empty: nothing
    ");
}

#[test]
fn b43_all_ways_in_lead_to_the_same_entry() {
    let after = |script: &str| {
        let out = pay(plain(), script);
        out.lines()
            .skip_while(|line| !line.contains("COMMIT"))
            .map(|l| l.split_once(": ").map_or(l, |(_, r)| r).to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let reply = after("money try done 7");
    let query = after("+10 money try silent\n+60 money query done 7");
    let callback = after("+10 money try pending 1\n money try done 7");
    assert_eq!(reply, query);
    assert_eq!(reply, callback);
    let person = after("+10 money try silent\n op money done 7");
    assert_eq!(person.replace("bob MarkDone money; ", ""), reply);
}

#[test]
fn b16_the_loser_of_reply_and_timeout_changes_nothing() {
    assert_snapshot!(pay(plain(), "
        money try done 7
        +10 money try silent
        money query absent
        money query pending 1
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try done 7: money done 7; COMMIT
        confirm hold reply 7
    +10 money try silent: nothing
    money query absent: nothing
    money query pending 1: nothing
    ");
}

#[test]
fn a_late_pending_of_an_attempt_that_was_answered_says_nothing() {
    assert_snapshot!(pay(plain(), "
        money try retry busy
        money try pending 1
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try retry busy: money#1 not now until 1s
        deadline at 3600s, wake money at 1s
    money try pending 1: nothing
    ");
}

#[test]
fn an_answer_that_the_call_does_not_have_is_unknown() {
    assert_snapshot!(pay(closing(), "
        money try closed
        +60 money query expired
        money confirm done
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try closed: money unknown until 60s
        deadline at 3600s, query money#1 at 60s
    +60 money query expired: money queried: it was answered `expired` until 120s
        deadline at 3600s, query money#1 at 120s
    money confirm done: illegal: step `money`: a confirm is not answered `done`
    ");
}

#[test]
fn an_execute_that_was_too_old_is_unknown() {
    assert_snapshot!(pay(plain(), "money try expired"), @"
    asks money 7
        deadline at 3600s, try money#1
    money try expired: money unknown until 60s
        deadline at 3600s, query money#1 at 60s
    ");
}

#[test]
fn a_person_may_query_while_it_is_being_closed_and_the_close_goes_on() {
    assert_snapshot!(pay(closing(), "
        +10 money try silent
        cancel
        money close retry busy
        op money query
        money query absent
        +2 money close closed
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    +10 money try silent: money unknown until 70s
        deadline at 3600s, query money#1 at 70s
    cancel: abort wanted: ann asked for it: changed her mind; closes money until 10s
        close money#1 at 10s
    money close retry busy: closes money until 11s
        close money#1 at 11s
    op money query: bob QueryNow money; resumes money; money unknown until 10s
        query money#1 at 10s
    money query absent: money queried: nothing is known under its key; closes money until 12s
        close money#1 at 12s
    +2 money close closed: money refused closed; ABORT: ann asked for it: changed her mind; undoes hold
        undo hold reply 7
    ");
}

#[test]
fn the_businesss_own_key_goes_out_with_every_attempt() {
    let saga = || {
        let saga = Saga::<i64>::new("pay", 1);
        let money = saga
            .pivot("money", Pay)
            .undone_by(give_back, |(asked, _)| asked)
            .key(saga.input(), |i| format!("refund-{i}"))
            .request(saga.input(), it);
        saga.output(money, it)
    };
    assert_snapshot!(run(saga(), "
        money try refused empty
        money try done 1
    "), @"
    start: begins; asks money 7 key=refund-7
        try money#1
    money try refused empty: money refused empty; ABORT: `money` was refused: empty: no; CANCELLED
    money try done 1: CONTRADICTED money done 1 undo 7 saga give_back@3/refund-7
        sends a taking back: 7 saga give_back@3/refund-7
    ");
}

fn after_decision() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("late", 1);
    let hold = saga.tcc("hold", Hold).request(saga.input(), it);
    saga.on_confirmed(|then| {
        let wired = then.external("wired", Wire).request(hold, it);
        then.retriable("told", Tell).request(wired, it);
    });
    saga.on_cancelled(|then| {
        let wired = then.external("wired_back", Wire).request((), |()| 1);
        then.retriable("told_back", Tell).request(wired, it);
    });
    saga.output((), |()| 0)
}

#[test]
fn an_external_that_is_refused_after_the_decision_parks_and_marked_not_done_drops_what_reads_it() {
    assert_snapshot!(run(after_decision(), "
        hold try done 1
        hold confirm done
        wired try refused empty
        op wired retry
        wired try refused empty
        op wired not_done
        wired try done 1
    "), @"
    start: begins; asks hold 7
        try hold
    hold try done 1: hold done 1; COMMIT
        confirm hold reply 1
    hold confirm done: hold confirmed; asks wired 1
        try wired#1
    wired try refused empty: PARKS wired: its try was refused: empty: no
    op wired retry: bob RetryNow wired; asks wired#2
        try wired#2
    wired try refused empty: PARKS wired: its try was refused: empty: no
    op wired not_done: bob MarkNotDone wired; drops wired; drops told; CONFIRMED 0
    wired try done 1: CONTRADICTED wired done 1
    ");
    assert_snapshot!(run(after_decision(), "
        hold try done 1
        hold confirm done
        +10 wired try silent
        op wired not_done
        +1 wired query absent
    "), @"
    start: begins; asks hold 7
        try hold
    hold try done 1: hold done 1; COMMIT
        confirm hold reply 1
    hold confirm done: hold confirmed; asks wired 1
        try wired#1
    +10 wired try silent: wired unknown until 70s
        query wired#1 at 70s
    op wired not_done: bob MarkNotDone wired; fences wired
        query wired#1 at 10001ms fencing
    +1 wired query absent: drops wired; drops told; CONFIRMED 0
    ");
}

#[test]
fn a_forced_not_done_after_the_decision_goes_on_being_queried_too() {
    assert_snapshot!(run(after_decision(), "
        hold try done 1
        hold confirm done
        +10 wired try silent
        op wired force
        +60 wired query absent
        +60 wired query refused failed
        wired query refused failed
    "), @"
    start: begins; asks hold 7
        try hold
    hold try done 1: hold done 1; COMMIT
        confirm hold reply 1
    hold confirm done: hold confirmed; asks wired 1
        try wired#1
    +10 wired try silent: wired unknown until 70s
        query wired#1 at 70s
    op wired force: bob MarkNotDone wired; drops wired; wired forced until 70s; drops told; CONFIRMED 0
        query wired#1 at 70s
    +60 wired query absent: wired queried: nothing is known under its key until 130s
        query wired#1 at 130s
    +60 wired query refused failed: wired settled
    wired query refused failed: nothing
    ");
}

#[test]
fn an_external_after_an_abort_is_tried_again_like_any_other() {
    assert_snapshot!(run(after_decision(), "
        hold try refused full
        wired_back try retry busy
        +1 wake wired_back
        +10 wired_back try silent
        +60 wired_back query absent
        wired_back try done 1
        told_back try done 1
    "), @"
    start: begins; asks hold 7
        try hold
    hold try refused full: hold refused full; ABORT: `hold` was refused: full: no; asks wired_back 1
        try wired_back#1
    wired_back try retry busy: wired_back#1 not now until 1s
        wake wired_back at 1s
    +1 wake wired_back: asks wired_back#2
        try wired_back#2
    +10 wired_back try silent: wired_back unknown until 71s
        query wired_back#2 at 71s
    +60 wired_back query absent: wired_back queried: nothing is known under its key; asks wired_back#3
        try wired_back#3
    wired_back try done 1: wired_back done 1; asks told_back 1
        try told_back
    told_back try done 1: told_back done 1; CANCELLED
    ");
}

#[test]
fn a_step_that_struggles_is_flagged_once_and_a_pivot_is_never_exhausted_from_outside() {
    assert_snapshot!(pay(plain(), "
        money try struggling
        money query struggling
        money try exhausted
    "), @"
    asks money 7
        deadline at 3600s, try money#1
    money try struggling: flags money
        deadline at 3600s, try money#1
    money query struggling: nothing
    money try exhausted: illegal: step `money`: a try is not answered `exhausted`
    ");
}

#[test]
fn query_every_and_limits_are_the_steps_own() {
    let saga = || {
        let saga = Saga::<i64>::new("pay", 1);
        let money = saga.pivot("money", Pay).query_every(minutes(3)).query_limit(1).request(saga.input(), it);
        saga.output(money, it)
    };
    assert_snapshot!(run(saga(), "
        +10 money try silent
        +180 money query pending 1
        op money query
        money query pending 1
    "), @"
    start: begins; asks money 7
        try money#1
    +10 money try silent: money unknown until 190s
        query money#1 at 190s
    +180 money query pending 1: money queried: it is still under way; PARKS money: no definite answer in all attempts and queries allowed: queried 1 times; at last: it is still under way
    op money query: bob QueryNow money; resumes money; money unknown until 190s
        query money#1 at 190s
    money query pending 1: money queried: it is still under way; PARKS money: no definite answer in all attempts and queries allowed: queried 1 times; at last: it is still under way
    ");
}
