//! The rules that are broken on purpose, one at a time, by the names they have at their places in the code; each is one of
//! MONEY-MODEL's, or of ownership's. A simulator that does not see one of them is worth nothing for that rule.

/// Every rule that can be broken.
pub const CANARIES: [&str; 26] = [
    // M1, the barrier.
    "forget_refusals",
    "forget_empty_cancels",
    "confirm_without_barrier",
    "unknown_try_never_cancelled",
    "calls_leave_before_the_journal",
    // M1b, half done.
    "call_before_intent",
    "void_of_nothing_is_done",
    // M2, the pivot.
    "absent_aborts",
    "any_refusal_aborts",
    "new_key_for_the_retry",
    "deadline_aborts",
    "exhausted_polling_aborts",
    "mark_without_fence",
    "soft_refusal_reported_final",
    // M3, payment and order.
    "accept_on_receipt",
    "forget_verdicts",
    "accept_two_payments",
    "abort_answers_no_signal",
    "drop_late_evidence",
    "silence_is_too_late",
    "close_without_asking",
    // M4, the ceiling.
    "pending_refunds_not_counted",
    // G6, ownership.
    "fence_is_not_compared",
    "gives_before_the_last_batch",
    "takes_over_a_lease_that_runs",
    "looks_once_for_who_waits",
];
