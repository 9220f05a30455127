//! The processes of a day: a broker, a database, nodes, and each participant in a process and with a database of its own.

use crate::options::{Options, Shelf, Store};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tercet_servers::{
    MariaDb, Port, Postgres, Process, ServerError,
    nats::{Nats, Setup, Version},
};
use tercet_shop::PARTICIPANTS;

pub(crate) const NAMESPACE: &str = "shop";

/// The nodes' database.
pub(crate) enum Server {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

impl Server {
    fn start(store: Store) -> Result<Self, ServerError> {
        match store {
            Store::Postgres => Postgres::start().map(Self::Postgres),
            Store::MariaDb => MariaDb::start().map(Self::MariaDb),
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres(server) => server.url(),
            Self::MariaDb(server) => server.url(),
        }
    }

    /// One database for each participant, and one for the channel; their URL.
    fn create_all(&self) -> Result<String, ServerError> {
        let mut url = String::new();
        for name in PARTICIPANTS.into_iter().chain(["channel"]) {
            let database = format!("shop_{name}");
            let made = match self {
                Self::Postgres(server) => server.create(&database)?,
                Self::MariaDb(server) => server.create(&database)?,
            };
            url = made.replace(&database, "shop_{participant}");
        }
        Ok(url)
    }

    pub(crate) fn kill(&mut self) {
        match self {
            Self::Postgres(server) => server.kill(),
            Self::MariaDb(server) => server.kill(),
        }
    }

    pub(crate) fn start_again(&mut self) -> Result<(), ServerError> {
        match self {
            Self::Postgres(server) => server.start_again(),
            Self::MariaDb(server) => server.start_again(),
        }
    }
}

/// A node; nothing while it is dead.
pub(crate) struct Node {
    name: String,
    port: Port,
    pub(crate) process: Option<Process>,
}

impl Node {
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }
}

/// All processes, and where they keep what.
pub(crate) struct Place {
    pub(crate) nodes: Vec<Node>,
    participants: Vec<Process>,
    pub(crate) server: Server,
    pub(crate) broker: Nats,
    /// The participants' databases.
    pub(crate) shop: String,
    folder: TempDir,
    times: u32,
    lease: Duration,
}

impl Place {
    /// The servers, and folders for all else: no node and no participant runs yet.
    pub(crate) fn new(options: &Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for program in PROGRAMS {
            keep(&program_beside(program), &folder.path().join(program));
        }
        let server = Server::start(options.store).unwrap();
        let shop = match options.shelf {
            Shelf::Files => format!("sqlite:{}/{{participant}}.db", folder.path().display()),
            Shelf::Server => server.create_all().unwrap(),
        };
        let node = |number| Node { name: format!("node-{number}"), port: Port::claim().unwrap(), process: None };
        Self {
            nodes: (1..=options.nodes).map(node).collect(),
            participants: Vec::new(),
            server,
            broker: Setup::default().jetstream().start(Version::Current).unwrap(),
            shop,
            folder,
            times: options.times,
            lease: options.lease,
        }
    }

    pub(crate) fn script(&self) -> PathBuf {
        self.folder.path().join("script.json")
    }

    /// The command, untouched by the settings of whoever runs the test, and told where everything is.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.path().join(program));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TERCET_") || name == "DATABASE_URL" {
                command.env_remove(name);
            }
        }
        command.env("TERCET_NAMESPACE", NAMESPACE).env("TERCET_NATS__URL", self.broker.url());
        command.env("TERCET_CLOCK__TIMES", self.times.to_string()).current_dir(self.folder.path());
        command
    }

    fn tercet(&self) -> Command {
        let mut command = self.command("tercet");
        command.env("TERCET_DATABASE__URL", self.server.url());
        command.env("TERCET_CLUSTER__LEASE", humantime::format_duration(self.lease).to_string());
        command
    }

    /// Starts participants and nodes.
    pub(crate) fn open(&mut self) {
        let migrated = self.tercet().arg("migrate").stdin(Stdio::null()).output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        for name in PARTICIPANTS {
            let mut command = self.command("tercet-shop");
            command.args(["--only", name, "--database", &self.shop, "--log", "warn", "--script"]).arg(self.script());
            self.participants.push(Process::start(name, &mut command, &self.log(name)).unwrap());
        }
        for number in 0..self.nodes.len() {
            self.start_node(number);
        }
    }

    /// Starts a node that is not there, and waits until it listens.
    pub(crate) fn start_node(&mut self, number: usize) {
        let name = self.nodes[number].name.clone();
        let mut command = self.tercet();
        let listen = self.nodes[number].url().replace("http://", "");
        command.args(["serve", "--listen", &listen, "--log", "warn"]);
        let mut process = Process::start(&name, &mut command, &self.log(&name)).unwrap();
        let node = &mut self.nodes[number];
        process.wait_until(|| node.port.answers()).unwrap();
        node.process = Some(process);
    }

    /// Processes that have ended by themselves, and what they said.
    pub(crate) fn fallen(&mut self) -> Vec<String> {
        let nodes = self.nodes.iter_mut().filter_map(|node| Some((node.name.as_str(), node.process.as_mut()?)));
        let participants = PARTICIPANTS.into_iter().zip(&mut self.participants);
        let ended = |(name, process): (&str, &mut Process)| {
            let how = process.has_ended()?;
            Some(format!("{name} has ended by itself ({how}), and said:\n{}", process.said()))
        };
        nodes.chain(participants).filter_map(ended).collect()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// How often nodes have said that, in all their lives.
    pub(crate) fn times_said(&self, words: &str) -> usize {
        let logs = self.nodes.iter().map(|node| std::fs::read_to_string(self.log(&node.name)).unwrap_or_default());
        logs.map(|log| log.lines().filter(|line| line.contains(words)).count()).sum()
    }

    /// The end of what each node has said.
    pub(crate) fn said(&self) -> String {
        let said = self.nodes.iter().filter_map(|node| Some((&node.name, node.process.as_ref()?.said())));
        said.map(|(name, said)| format!("{name}:\n{said}\n")).collect()
    }

    /// Tells nodes and participants to end; the databases stay.
    pub(crate) fn close(&mut self) {
        for node in &mut self.nodes {
            if let Some(process) = node.process.take() {
                process.end();
            }
        }
        self.participants.drain(..).for_each(Process::end);
    }
}

/// What nodes and participants run.
const PROGRAMS: [&str; 2] = ["tercet", "tercet-shop"];

/// Both are built by whoever builds the workspace.
fn program_beside(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_tercet")).with_file_name(name);
    assert!(program.is_file(), "{} is not built: run `cargo build -p tercet-shop` first", program.display());
    program
}

/// The program as it is now, whatever is built while the day lasts.
fn keep(program: &Path, to: &Path) {
    if std::fs::hard_link(program, to).is_err() {
        std::fs::copy(program, to).unwrap();
    }
}
