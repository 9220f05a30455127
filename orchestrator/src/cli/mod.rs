//! The command line of a project: `dev`, `serve`, `saga …`, `definition …`, `migrate`, over the project's own definitions.
//!
//! Everything that concerns a running node goes through its HTTP API; `definition …` works offline.

mod client;
mod dead_letter;
mod definition;
mod events;
mod failure;
mod logs;
mod node;
mod nodes;
mod output;
mod page;
mod participant;
mod progress;
mod saga;

pub use clap;
pub use failure::{Exit, Failure};
pub use node::{Context, Hosted, Node};
pub use output::Output;

use crate::{
    Registry, RegistryError,
    config::{Config, Setting, Sources},
};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand, value_parser};
use client::Client;
use node::Database;
use output::{Form, line};
use std::{env, ffi::OsString, io, num::NonZero, path::PathBuf, pin::Pin, process::ExitCode, thread};
use tokio::runtime::{Builder, Runtime};

type Ending = Pin<Box<dyn Future<Output = Result<ExitCode, Failure>>>>;
type Hosting = Box<dyn FnOnce(Config) -> Pin<Box<dyn Future<Output = Result<Hosted, Failure>>>>>;
type Run = Box<dyn FnOnce(&ArgMatches, Context) -> Result<Ending, clap::Error>>;

/// A project's command: its definitions, the participants that it hosts, and the commands it adds.
///
/// ```no_run
/// use tercet::{Registry, Tercet};
///
/// fn main() -> std::process::ExitCode {
///     let registry = Registry::new(); // .with(order())?.with(refund())?
///     Tercet::new("shop").registry(Ok(registry)).main()
/// }
/// ```
pub struct Tercet {
    name: &'static str,
    registry: Result<Registry, RegistryError>,
    settings: Vec<Setting>,
    hosting: Option<Hosting>,
    demo: Option<Extra>,
    commands: Vec<Extra>,
}

/// A command of the project's own.
struct Extra {
    command: Command,
    run: Run,
}

impl Tercet {
    /// The command of that name, as it is called and as it is named in what it suggests.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let (registry, settings, commands) = (Ok(Registry::new()), Vec::new(), Vec::new());
        Self { name, registry, settings, hosting: None, demo: None, commands }
    }

    /// Runs these definitions. A wrong one is told by whichever command needs them.
    #[must_use]
    pub fn registry(mut self, registry: Result<Registry, RegistryError>) -> Self {
        self.registry = registry;
        self
    }

    /// Has settings of its own, beside those of every node: [`Config::own`] is what they are set to.
    #[must_use]
    pub fn settings(mut self, own: impl IntoIterator<Item = Setting>) -> Self {
        self.settings.extend(own);
        self
    }

    /// Hosts participants in the process of `dev` and `serve`. `host` is given the settings: the folder for the participants'
    /// databases is [`Config::participants`], and is there.
    #[must_use]
    pub fn participants<F, H>(mut self, host: F) -> Self
    where
        F: FnOnce(Config) -> H + 'static,
        H: Future<Output = Result<Hosted, Failure>> + 'static,
    {
        self.hosting = Some(Box::new(|config| Box::pin(host(config))));
        self
    }

    /// Adds `dev --demo`, with the options of `A`. The demo starts its node by [`Context::start`], and says how the command ends.
    #[must_use]
    pub fn demo<A, F, D>(mut self, demo: F) -> Self
    where
        A: Args + 'static,
        F: FnOnce(A, Context) -> D + 'static,
        D: Future<Output = Result<ExitCode, Failure>> + 'static,
    {
        let command = A::augment_args(Command::new("demo"));
        self.demo = Some(Extra { command, run: runs(demo) });
        self
    }

    /// Adds a command, called and described as its parser says.
    #[must_use]
    pub fn command<A, F, D>(mut self, run: F) -> Self
    where
        A: Parser + 'static,
        F: FnOnce(A, Context) -> D + 'static,
        D: Future<Output = Result<ExitCode, Failure>> + 'static,
    {
        self.commands.push(Extra { command: A::command(), run: runs(run) });
        self
    }

    /// Reads the process's arguments, does what they say on a runtime of its own, and says how it ended.
    ///
    /// The runtime has a thread for each core but one, which is the database's; with `TOKIO_WORKER_THREADS` as many as that says.
    pub fn main(self) -> ExitCode {
        match runtime() {
            Ok(runtime) => runtime.block_on(self.run()),
            Err(error) => ended(Err(Failure::new(Exit::Other, format!("failed to start a runtime: {error}")))),
        }
    }

    /// As [`main`](Self::main), on the caller's runtime.
    pub async fn run(self) -> ExitCode {
        self.run_from(env::args_os()).await
    }

    /// As [`run`](Self::run), with arguments of the caller's; the first is the program's name.
    pub async fn run_from(self, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
        match self.whole().try_get_matches_from(arguments) {
            Ok(matches) => ended(self.dispatch(&matches).await),
            Err(error) => told(&error),
        }
    }

    /// All that it can be told.
    fn whole(&self) -> Command {
        let mut dev = Place::augment_args(Command::new("dev"))
            .about("Run everything on this machine: database, in-process participants, API on loopback");
        if let Some(demo) = &self.demo {
            let flag = Arg::new("demo").long("demo").action(ArgAction::SetTrue);
            dev = dev.arg(flag.help("Run the demo, too"));
            dev = dev.args(demo.command.get_arguments().map(|arg| arg.clone().requires("demo")));
        }
        let saga = Command::new("saga").about("Start, look at and operate sagas of a running node");
        let definition = Command::new("definition").about("Look at the definitions that this command holds, offline");
        let shell = Arg::new("shell").required(true).value_parser(value_parser!(clap_complete::Shell));
        Global::augment_args(Command::new(self.name))
            .version(env!("CARGO_PKG_VERSION"))
            .about("Sagas in three verbs: try, confirm, cancel")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .after_help(failure::EXIT_CODES)
            .subcommand(dev)
            .subcommand(Place::augment_args(Command::new("serve")).about("Run a node on a migrated database"))
            .subcommand(saga::Command::augment_subcommands(saga).subcommand_required(true).arg_required_else_help(true))
            .subcommand(
                definition::Command::augment_subcommands(definition)
                    .subcommand_required(true)
                    .arg_required_else_help(true),
            )
            .subcommand(
                events::Command::augment_subcommands(Command::new("events").about("Look at what participants publish"))
                    .subcommand_required(true)
                    .arg_required_else_help(true),
            )
            .subcommand(
                dead_letter::Command::augment_subcommands(
                    Command::new("dead-letter").about("Look at what came by way of a stream and can never succeed"),
                )
                .subcommand_required(true)
                .arg_required_else_help(true),
            )
            .subcommand(
                nodes::Command::augment_subcommands(Command::new("node").about("Look at the nodes of a database"))
                    .subcommand_required(true)
                    .arg_required_else_help(true),
            )
            .subcommand(
                participant::Command::augment_subcommands(
                    Command::new("participant").about("Look at the participants that are there over NATS"),
                )
                .subcommand_required(true)
                .arg_required_else_help(true),
            )
            .subcommand(
                Data::augment_args(Command::new("migrate"))
                    .about("Make the database, or bring it to this version's schema"),
            )
            .subcommands(self.commands.iter().map(|extra| extra.command.clone()))
            .subcommand(Command::new("completions").about("Print completions for a shell").arg(shell))
    }

    async fn dispatch(self, matches: &ArgMatches) -> Result<ExitCode, Failure> {
        let Some((command, inner)) = matches.subcommand() else { return Ok(ExitCode::SUCCESS) };
        if let ("completions", Some(shell)) =
            (command, inner.try_get_one::<clap_complete::Shell>("shell").ok().flatten())
        {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut self.whole(), self.name, &mut text);
            line(String::from_utf8_lossy(&text).trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        let global = Global::from_arg_matches(matches)?;
        let form = global.output;
        if command == "definition" {
            return definition::run(definition::Command::from_arg_matches(inner)?, &self.registry?, form);
        }
        let mut flags = global.flags();
        if ["dev", "serve", "migrate"].contains(&command) {
            flags.extend(Data::from_arg_matches(inner)?.flags());
        }
        if ["dev", "serve"].contains(&command) {
            flags.extend(Place::from_arg_matches(inner)?.flags());
        }
        let is_demo = self.is_demo(command, inner);
        let mut sources = Sources { own: self.settings.clone(), ..Sources::of_process(global.config, flags) };
        if is_demo {
            // Its misfortunes are what it is about: a warning of each would drown what it shows.
            sources.defaults.push(("log.filter", "error"));
        }
        let config = Config::load(&sources)?;
        logs::begin(&config.log);
        match command {
            "saga" => {
                let client = Client::new(&config, self.name, global.server.is_some())?;
                saga::run(saga::Command::from_arg_matches(inner)?, &client, form).await
            }
            "events" => {
                let client = Client::new(&config, self.name, global.server.is_some())?;
                events::run(events::Command::from_arg_matches(inner)?, &client, form.plain()?).await
            }
            "dead-letter" => {
                let client = Client::new(&config, self.name, global.server.is_some())?;
                dead_letter::run(dead_letter::Command::from_arg_matches(inner)?, &client, form.plain()?).await
            }
            "node" => {
                let client = Client::new(&config, self.name, global.server.is_some())?;
                nodes::run(nodes::Command::from_arg_matches(inner)?, &client, form.plain()?).await
            }
            "participant" => {
                let client = Client::new(&config, self.name, global.server.is_some())?;
                participant::run(participant::Command::from_arg_matches(inner)?, &client, form.plain()?).await
            }
            "migrate" => migrate(&config, form.plain()?).await,
            _ => self.here(command, inner, config, form.plain()?).await,
        }
    }

    fn is_demo(&self, command: &str, inner: &ArgMatches) -> bool {
        command == "dev" && self.demo.is_some() && inner.get_flag("demo")
    }

    /// What runs in this process.
    async fn here(
        self, command: &str, inner: &ArgMatches, config: Config, output: Output,
    ) -> Result<ExitCode, Failure> {
        let is_demo = self.is_demo(command, inner);
        let context = Context { config, output, registry: self.registry? };
        let mut extras = self.commands.into_iter();
        match (command, self.demo.filter(|_| is_demo)) {
            (_, Some(demo)) => (demo.run)(inner, context)?.await,
            ("dev", None) => dev(&context, self.hosting, self.name).await,
            ("serve", None) => serve(&context, self.hosting).await,
            _ => match extras.find(|extra| extra.command.get_name() == command) {
                Some(extra) => (extra.run)(inner, context)?.await,
                None => Err(Failure::usage(format!("`{command}` is no command"))),
            },
        }
    }
}

impl std::fmt::Debug for Tercet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tercet").field("name", &self.name).finish_non_exhaustive()
    }
}

/// With a thread for every core the threads of an SQLite file, or a server on the same machine, wait for one: on two cores that took a
/// quarter of the throughput.
fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        builder.worker_threads(cores.saturating_sub(1).max(1));
    }
    builder.enable_all().build()
}

fn runs<A, F, D>(run: F) -> Run
where
    A: FromArgMatches + 'static,
    F: FnOnce(A, Context) -> D + 'static,
    D: Future<Output = Result<ExitCode, Failure>> + 'static,
{
    Box::new(|matches, context| Ok(Box::pin(run(A::from_arg_matches(matches)?, context))))
}

#[derive(Debug, Args)]
struct Global {
    /// Read settings from this file instead of ./tercet.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to answer
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    output: Form,
    /// The node to talk to, as in http://127.0.0.1:7007
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// What to log, as in info or warn,tercet=debug
    #[arg(long, global = true, value_name = "LEVELS")]
    log: Option<String>,
}

impl Global {
    fn flags(&self) -> Vec<(&'static str, String)> {
        given([("server", &self.server), ("log.filter", &self.log)])
    }
}

#[derive(Debug, Args)]
struct Data {
    /// The SQLite file, or a folder to keep tercet.db in
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
}

impl Data {
    fn flags(&self) -> Vec<(&'static str, String)> {
        given([("data", &self.data)])
    }
}

#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    data: Data,
    /// Where the API listens, as in 127.0.0.1:7007
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Whose sagas it runs
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

impl Place {
    fn flags(&self) -> Vec<(&'static str, String)> {
        given([("http.listen", &self.listen), ("namespace", &self.namespace)])
    }
}

fn given<const N: usize>(flags: [(&'static str, &Option<String>); N]) -> Vec<(&'static str, String)> {
    flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
}

async fn hosted(context: &Context, hosting: Option<Hosting>) -> Result<Hosted, Failure> {
    let Some(host) = hosting else { return Ok(Hosted::default()) };
    node::make_folder(&context.config.participants())?;
    host(context.config.clone()).await
}

async fn serve(context: &Context, hosting: Option<Hosting>) -> Result<ExitCode, Failure> {
    let hosted = hosted(context, hosting).await?;
    let node = context.run(hosted, Database::MustBeThere, true).await?;
    if let Some(address) = node.address() {
        tracing::info!(%address, data = context.config.journal(), "serving");
    }
    node.until_stopped().await?;
    Ok(ExitCode::SUCCESS)
}

async fn dev(context: &Context, hosting: Option<Hosting>, name: &str) -> Result<ExitCode, Failure> {
    let hosted = hosted(context, hosting).await?;
    let node = context.start(hosted).await?;
    let mut names: Vec<_> = context.registry.iter().map(|graph| graph.name().as_str()).collect();
    names.dedup();
    let first = names.first().copied().unwrap_or("DEFINITION");
    line(format!("running  {}", if names.is_empty() { "no definition yet".to_owned() } else { names.join(", ") }));
    line(format!("data     {}", context.config.journal()));
    line(format!("API      http://{}", node.address().unwrap_or(context.config.listen)));
    let there = node.server_flag();
    line(format!("try      {name} saga start {first} --key try-1 --input '{{…}}' --wait tried{there}"));
    line(format!(
        "         {name} saga list{there}; {name} definition show {first} says what its input is; Ctrl-C stops, and the next start goes on"
    ));
    node.until_stopped().await?;
    Ok(ExitCode::SUCCESS)
}

async fn migrate(config: &Config, output: Output) -> Result<ExitCode, Failure> {
    Box::pin(node::open(config, Database::MadeAndMigrated)).await?.close().await;
    let (data, version) = (config.journal(), tercet_migrations::version());
    match output {
        Output::Table => line(format!("{data} is at schema version {version}")),
        Output::Json | Output::Jsonl => line(serde_json::json!({"database": data, "schema": version})),
    }
    Ok(ExitCode::SUCCESS)
}

/// Usage errors go where they belong; help and version are no errors.
fn told(error: &clap::Error) -> ExitCode {
    drop(error.print());
    if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
}

fn ended(result: Result<ExitCode, Failure>) -> ExitCode {
    use std::io::Write;
    result.unwrap_or_else(|failure| {
        drop(writeln!(anstream::stderr(), "error: {failure}"));
        failure.exit().into()
    })
}
