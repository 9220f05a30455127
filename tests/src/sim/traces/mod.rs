//! MONEY-MODEL's eleven traces, by number: each the shortest way to disaster of a rule that was once left out, played on the real
//! engine, runner and barrier, and ending well.

mod barrier;
mod money;
mod pivot;
