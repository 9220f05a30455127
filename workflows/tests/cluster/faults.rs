//! What goes wrong in a day, and when.

use crate::place::Place;
use std::{
    fmt,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::sleep};

/// How long what was killed stays away.
const AWAY: Duration = Duration::from_millis(700);

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node is killed (`kill -9`), and started again.
    KillNode,
    /// A node is stopped (SIGSTOP) for longer than its lease, and goes on.
    PauseNode,
    /// The broker is killed, what it has stored is deleted, and it is started again.
    WipeBroker,
    /// The nodes' database is killed, and started again.
    CrashStore,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::KillNode, Self::PauseNode, Self::WipeBroker, Self::CrashStore];

    async fn happen(self, place: &mut Place, round: usize, lease: Duration) {
        let nodes = place.nodes.len();
        match self {
            Self::KillNode => {
                let number = round % nodes;
                place.nodes[number].process.take().unwrap().kill();
                sleep(AWAY).await;
                place.start_node(number);
            }
            Self::PauseNode => {
                let node = &place.nodes[(round + 1) % nodes];
                let process = node.process.as_ref().unwrap();
                process.signal("STOP");
                sleep(lease * 2).await;
                process.signal("CONT");
            }
            Self::WipeBroker => {
                place.broker.wipe().unwrap();
                sleep(AWAY).await;
                place.broker.start_again().unwrap();
            }
            Self::CrashStore => {
                place.server.kill();
                sleep(AWAY).await;
                place.server.start_again().unwrap();
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillNode => "a node killed and started again",
            Self::PauseNode => "a node stopped past its lease, then continued",
            Self::WipeBroker => "the broker killed and its store wiped",
            Self::CrashStore => "the nodes' database killed and started again",
        })
    }
}

/// A fault that has happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fired {
    pub(crate) fault: Fault,
    /// How many sagas were at rest by then.
    pub(crate) at_rest: u64,
    /// How long the day had lasted.
    pub(crate) after: Duration,
}

/// Lets everything go wrong, so many times, spread over the first three quarters of the sagas.
pub(crate) async fn all(
    mut place: Place, sagas: u64, rounds: usize, lease: Duration, mut at_rest: watch::Receiver<u64>,
) -> (Place, Vec<Fired>) {
    let (begun, mut fired) = (Instant::now(), Vec::new());
    let plan: Vec<_> = (0..rounds).flat_map(|round| Fault::ALL.map(|fault| (round, fault))).collect();
    let steps = plan.len() as u64 + 1;
    for ((round, fault), step) in plan.into_iter().zip(1..) {
        let due = sagas * 3 / 4 * step / steps;
        // The day has ended before: what has not happened is missing in the report.
        let Ok(at_rest) = at_rest.wait_for(|at_rest| *at_rest >= due).await.map(|at_rest| *at_rest) else { break };
        eprintln!("{at_rest} at rest: {fault}");
        fired.push(Fired { fault, at_rest, after: begun.elapsed() });
        fault.happen(&mut place, round, lease).await;
    }
    (place, fired)
}
