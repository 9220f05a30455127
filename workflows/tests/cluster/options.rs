//! What a day is like: how many sagas, on how many nodes, on which database, how much goes wrong.

use std::{env, fmt, str::FromStr, time::Duration};

/// Where the nodes keep their journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Postgres,
    MariaDb,
}

/// Where the participants keep their databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// SQLite files.
    Files,
    /// The nodes' server.
    Server,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) store: Store,
    pub(crate) shelf: Shelf,
    pub(crate) nodes: usize,
    pub(crate) sagas: usize,
    pub(crate) seed: u64,
    /// How often each fault happens.
    pub(crate) rounds: usize,
    /// Sagas under way at once, and buyers in the shop.
    pub(crate) at_once: usize,
    /// How many times as fast as the machine's clock everybody's runs.
    pub(crate) times: u32,
    /// How long a node that is not heard of keeps what it owns, by the database's clock.
    pub(crate) lease: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            store: Store::Postgres,
            shelf: Shelf::Files,
            nodes: 2,
            sagas: 150,
            seed: 7,
            rounds: 1,
            at_once: 64,
            times: 20,
            lease: Duration::from_secs(2),
        }
    }
}

impl Options {
    /// As the environment says, which `./tests/run cluster` sets from its flags.
    pub(crate) fn told() -> Self {
        let usual =
            Self { sagas: 2_000, rounds: 3, at_once: 120, times: 10, lease: Duration::from_secs(5), ..Self::default() };
        Self {
            store: told("STORE", usual.store),
            nodes: told("NODES", usual.nodes),
            sagas: told("SAGAS", usual.sagas),
            seed: told("SEED", usual.seed),
            rounds: told("ROUNDS", usual.rounds),
            at_once: told("AT_ONCE", usual.at_once),
            times: told("TIMES", usual.times),
            ..usual
        }
    }
}

fn told<T: FromStr>(name: &str, usual: T) -> T {
    let name = format!("CLUSTER_{name}");
    let Ok(text) = env::var(&name) else { return usual };
    text.parse().unwrap_or_else(|_| panic!("{name} cannot be `{text}`"))
}

impl FromStr for Store {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Postgres, Self::MariaDb].into_iter().find(|store| store.to_string() == text).ok_or(())
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
        })
    }
}
