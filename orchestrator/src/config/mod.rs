//! Settings: defaults, then `tercet.toml`, then `TERCET_…__…`, then flags; layered by figment, checked here.
//!
//! Absent on purpose: a value in an error (it may be a secret), a search in folders above, and a key that is not known.

mod error;
mod lines;
mod nats;
mod own;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, ConfigErrors};
pub use own::{Own, Setting};

use crate::{
    engine::Limits,
    secret::Secret,
    store::{DatabaseKind, DatabaseUrl},
};
use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    util::nest,
    value::{Dict, Map, Value},
};
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tercet_core::Namespace;

/// The file that is read when none is named.
const FILE: &str = "tercet.toml";

const PREFIX: &str = "TERCET_";

/// Shorter tokens can be guessed.
const TOKEN_CHARACTERS_MIN: usize = 16;

/// The longest look ahead, and the longest time that anything about a participant's health may take.
const HOUR: Duration = Duration::from_secs(3600);

/// A key, what it is without one, and what it may be.
type Key = (&'static str, Option<&'static str>, &'static str);

/// Every key of a node; a program may have more of its own.
const KEYS: [Key; 29] = [
    ("cluster.lease", Some("10s"), "a time of 1 s to 1 h, with its unit, as in `10s` or `5 min`"),
    ("data", Some("tercet.db"), "a path: of an SQLite file, or of a folder to keep `tercet.db` in"),
    (
        "database.url",
        None,
        "the URL of a server's database, as in `postgres://user:password@host:5432/tercet` or `mysql://…`; special characters \
         of the password are written as %XX",
    ),
    ("http.listen", Some("127.0.0.1:7007"), "an IP address and a port, as in `127.0.0.1:7007`"),
    ("http.token", None, "16 or more visible ASCII characters"),
    ("ingress.wait", Some("24h"), "a time of 1 s or more, with its unit, as in `12h` or `7 days`"),
    ("log.filter", Some("info"), "levels by module, as in `info` or `warn,tercet=debug`"),
    ("log.format", Some("text"), "`text` or `json`"),
    ("look_ahead", Some("1min"), "a time of 1 s to 1 h, with its unit, as in `10s` or `5 min`"),
    ("namespace", Some("default"), "1 to 64 ASCII letters, digits, `_` and `-`"),
    ("nats.credentials", None, "a path: of a credentials file"),
    ("nats.nkey", None, "an nkey's seed"),
    ("nats.password", None, "the password of `nats.user`"),
    ("nats.replicas", None, "1, 3 or 5: how many servers of a cluster keep each stream"),
    ("nats.tls_ca", None, "a path: of a PEM file with the authorities that vouch for the servers"),
    ("nats.tls_cert", None, "a path: of a PEM file with this client's certificate"),
    ("nats.tls_key", None, "a path: of a PEM file with the key of `nats.tls_cert`"),
    ("nats.token", None, "a token"),
    ("nats.url", None, "servers, as in `nats://127.0.0.1:4222`, with commas between them"),
    ("nats.user", None, "a user's name"),
    ("participants.calls_min", Some("100"), "a number of calls, 2 or more: fewer say nothing about a participant"),
    ("participants.concurrent", Some("512"), "a number of calls, 1 to 100000: more wait in line"),
    ("participants.errors_percent", Some("5"), "a share of calls in percent, 1 to 100"),
    (
        "participants.listen",
        Some("127.0.0.1:0"),
        "an IP address and a port, as in `127.0.0.1:7008`; port 0 is any free one",
    ),
    ("participants.rest", Some("5s"), "a time of 1 s to 1 h, with its unit, as in `10s` or `5 min`"),
    ("participants.timeouts_percent", Some("20"), "a share of calls in percent, 1 to 100"),
    ("participants.window", Some("30s"), "a time of 1 s to 1 h, with its unit, as in `10s` or `5 min`"),
    ("retention", None, "a time of 1 s or more, with its unit, as in `30 days`"),
    ("server", None, "the address of a running node, as in `http://127.0.0.1:7007`"),
];

/// What a process is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose sagas it runs.
    pub namespace: Namespace,
    /// The SQLite file; where the journal is in a server's database, what is beside it names the participants' folder.
    pub data: PathBuf,
    /// The server's database that the journal is in instead.
    pub database: Option<DatabaseUrl>,
    /// Where its API listens.
    pub listen: SocketAddr,
    /// Where the hosted participants listen, if they listen themselves: for a channel's callbacks, say.
    pub participants_listen: SocketAddr,
    /// What callers of the API must show.
    pub token: Option<Secret>,
    /// The node that the command line talks to, without a `/` at its end.
    pub server: String,
    /// What is logged.
    pub log: Log,
    /// How long an ended saga's journal is kept; for ever without.
    pub retention: Option<Duration>,
    /// How far ahead durable timers are kept in memory.
    pub look_ahead: Duration,
    /// How long a node that is not heard of keeps its sagas, where several share a database; then the others take over.
    pub lease: Duration,
    /// How long a signal that came by way of a stream waits for its saga to be started.
    pub wait: Duration,
    /// How each participant is spared.
    pub limits: Limits,
    /// How to reach participants that are not hosted in the process; without it there are none.
    pub nats: Option<tercet_nats::Settings>,
    /// What the program's own settings are set to.
    pub own: Own,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Levels by module.
    pub filter: String,
    /// One JSON object a line, instead of text.
    pub json: bool,
}

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that must be there. Without one, `tercet.toml` in `folder`, if it is there; never in a folder above.
    pub file: Option<PathBuf>,
    /// The working directory.
    pub folder: PathBuf,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Keys set by flags, and their values.
    pub flags: Vec<(&'static str, String)>,
    /// What a command sets unless anything else does.
    pub defaults: Vec<(&'static str, &'static str)>,
    /// The settings that the program has beside those of every node.
    pub own: Vec<Setting>,
}

impl Sources {
    /// This process's environment and working directory, under a file and flags.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
        Self { file, folder: PathBuf::from("."), environment, flags, ..Self::default() }
    }
}

impl Config {
    /// Reads every source, and checks all of it.
    ///
    /// # Errors
    /// Everything that is wrong, each with where it stands and what would be right, and never with its value.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let own = sources.own.iter().map(|own| (own.key, Some(own.default), own.form));
        let mut reading = Reading { keys: KEYS.into_iter().chain(own).collect(), ..Reading::default() };
        reading.keys.sort_unstable();
        reading.defaults();
        for (key, value) in &sources.defaults {
            reading.layer("the defaults".to_owned(), key, value);
        }
        if let Err(error) = reading.file(sources) {
            return Err(ConfigErrors(vec![error]));
        }
        reading.environment(&sources.environment);
        for (key, value) in &sources.flags {
            reading.layer(format!("the flag --{}", key.rsplit('.').next().unwrap_or(key)), key, value);
        }
        reading.check();
        let own = reading.own(&sources.own);
        match reading.config(own) {
            Some(config) if reading.errors.is_empty() => Ok(config),
            _ => Err(ConfigErrors(reading.errors)),
        }
    }

    /// Where the journal is, for people: without a password.
    #[must_use]
    pub fn journal(&self) -> String {
        self.database.as_ref().map_or_else(|| self.data.display().to_string(), ToString::to_string)
    }

    /// The folder where the participants of this process keep their databases.
    #[must_use]
    pub fn participants(&self) -> PathBuf {
        let mut name = self.data.file_stem().unwrap_or_default().to_owned();
        name.push("-participants");
        self.data.with_file_name(name)
    }
}

/// One source's values, and what it is called.
struct Layer(String, Dict);

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.0.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.1.clone()))
    }
}

/// A value that was found, as text, and where.
struct Found {
    text: String,
    at: String,
}

#[derive(Default)]
struct Reading {
    keys: Vec<Key>,
    figment: Figment,
    /// The file's name and text.
    file: Option<(String, String)>,
    found: BTreeMap<&'static str, Found>,
    errors: Vec<ConfigError>,
}

impl Reading {
    fn merge(&mut self, layer: Layer) {
        self.figment = std::mem::take(&mut self.figment).merge(layer);
    }

    fn layer(&mut self, name: String, key: &str, value: &str) {
        if let Value::Dict(_, dict) = nest(key, value.into()) {
            self.merge(Layer(name, dict));
        }
    }

    fn defaults(&mut self) {
        for (key, default, _) in self.keys.clone() {
            if let Some(default) = default {
                self.layer("the defaults".to_owned(), key, default);
            }
        }
    }

    fn file(&mut self, sources: &Sources) -> Result<(), ConfigError> {
        let path = sources.file.clone().unwrap_or_else(|| sources.folder.join(FILE));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && sources.file.is_none() => return Ok(()),
            Err(error) => return Err(ConfigError::Unreadable { path, why: error.to_string() }),
        };
        let name = path.strip_prefix(".").unwrap_or(&path).display().to_string();
        let mut read = Toml::string(&text).data().map_err(|error| ConfigError::Syntax {
            path: path.clone(),
            at: lines::of_toml_error(&error.to_string()).unwrap_or_else(|| "somewhere".to_owned()),
        })?;
        self.merge(Layer(name.clone(), read.remove(&Profile::Default).unwrap_or_default()));
        self.file = Some((name, text));
        Ok(())
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        for (name, value) in variables {
            match name.strip_prefix(PREFIX) {
                Some(key) => {
                    let key = key.to_lowercase().replace("__", ".");
                    self.layer(format!("the environment variable {name}"), &key, value);
                }
                None => self.errors.extend(misspelt_prefix(name, &self.keys)),
            }
        }
    }

    /// Every key that stands anywhere is a known one, and a value where a value belongs.
    fn check(&mut self) {
        let all = self.figment.data().ok().and_then(|mut all| all.remove(&Profile::Default)).unwrap_or_default();
        self.check_table("", &all);
    }

    fn check_table(&mut self, above: &str, table: &Dict) {
        for (name, value) in table {
            let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            let known = self.keys.iter().copied().find(|(key, ..)| *key == path);
            let is_table = self.keys.iter().any(|(key, ..)| key.starts_with(&format!("{path}.")));
            match (known, value) {
                (Some((key, _, form)), value) => match text(value) {
                    Some(text) => drop(self.found.insert(key, Found { text, at: self.at(value, &path) })),
                    None => self.errors.push(ConfigError::Wrong { key, at: self.at(value, &path), form }),
                },
                (None, Value::Dict(_, inner)) if is_table => self.check_table(&path, inner),
                (None, value) if is_table => {
                    let at = self.at(value, &path);
                    self.errors.push(ConfigError::NotATable {
                        key: path.clone(),
                        at,
                        keys: keys_in(&path, &self.keys),
                    });
                }
                (None, Value::Dict(_, inner)) if !inner.is_empty() => self.check_table(&path, inner),
                (None, value) => {
                    let at = self.at(value, &path);
                    self.errors.push(ConfigError::unknown(path, at, &self.keys));
                }
            }
        }
    }

    /// Where a value stands.
    fn at(&self, value: &Value, path: &str) -> String {
        let name = self.figment.get_metadata(value.tag()).map_or("an unknown source", |m| &m.name);
        match &self.file {
            Some((file, text)) if file == name => match lines::of_key(text, path) {
                Some(line) => format!("{name}, line {line}"),
                None => name.to_owned(),
            },
            _ => name.to_owned(),
        }
    }

    fn config(&mut self, own: Own) -> Option<Config> {
        let data = self.read("data", |text| (!text.is_empty()).then(|| file(text)));
        let database = self.read("database.url", |text| {
            text.parse::<DatabaseUrl>().ok().filter(|url| url.kind() != DatabaseKind::Sqlite)
        });
        let listen = self.read("http.listen", |text| text.parse::<SocketAddr>().ok());
        let participants_listen = self.read("participants.listen", |text| text.parse::<SocketAddr>().ok());
        let token = self.read("http.token", |text| token(text).then(|| Secret::new(text)));
        let filter = self.read("log.filter", |text| {
            text.parse::<tracing_subscriber::filter::Targets>().ok().map(|_| text.to_owned())
        });
        let json = self.read("log.format", |text| match text {
            "text" => Some(false),
            "json" => Some(true),
            _ => None,
        });
        let lease = self.read("cluster.lease", |text| duration(text).filter(|time| *time <= HOUR));
        let look_ahead = self.read("look_ahead", |text| duration(text).filter(|time| *time <= HOUR));
        let wait = self.read("ingress.wait", duration);
        let namespace = self.read("namespace", |text| text.parse::<Namespace>().ok());
        let retention = self.read("retention", duration);
        let server = self.read("server", server);
        let limits = self.limits();
        let nats = self.nats();
        let listen = listen?;
        if !listen.ip().is_loopback() && !self.found.contains_key("http.token") {
            let at = self.found.get("http.listen").map_or_else(String::new, |found| found.at.clone());
            self.errors.push(ConfigError::Open { at });
        }
        Some(Config {
            namespace: namespace?,
            data: data?,
            database,
            listen,
            participants_listen: participants_listen?,
            token,
            server: server.unwrap_or_else(|| format!("http://{listen}")),
            log: Log { filter: filter?, json: json? },
            retention,
            look_ahead: look_ahead?,
            lease: lease?,
            wait: wait?,
            limits: limits?,
            nats,
            own,
        })
    }

    fn limits(&mut self) -> Option<Limits> {
        let number = |text: &str, least: u32, most: u32| text.parse().ok().filter(|n| (least..=most).contains(n));
        let time = |text: &str| duration(text).filter(|time| *time <= HOUR);
        let calls_min = self.read("participants.calls_min", |text| number(text, 2, u32::MAX));
        let concurrent = self.read("participants.concurrent", |text| number(text, 1, 100_000));
        let errors_percent = self.read("participants.errors_percent", |text| number(text, 1, 100));
        let rest = self.read("participants.rest", time);
        let timeouts_percent = self.read("participants.timeouts_percent", |text| number(text, 1, 100));
        let window = self.read("participants.window", time);
        Some(Limits {
            concurrent: concurrent?,
            errors_percent: errors_percent?,
            timeouts_percent: timeouts_percent?,
            calls_min: calls_min?,
            window: window?,
            rest: rest?,
        })
    }

    /// What is not right is among the errors, and then there are no settings.
    fn own(&mut self, settings: &[Setting]) -> Own {
        let read = settings.iter().filter_map(|own| Some((own.key, self.read(own.key, |text| own.read(text))?)));
        Own { values: read.collect(), settings: settings.to_vec() }
    }

    fn read<T>(&mut self, key: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let found = self.found.get(key)?;
        let value = parse(&found.text);
        if value.is_none() {
            let form = self.keys.iter().find(|(known, ..)| *known == key).map_or("", |(_, _, form)| form);
            self.errors.push(ConfigError::Wrong { key, at: found.at.clone(), form });
        }
        value
    }
}

/// A scalar as it was written: all digits are a text, too.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, one) => Some(one.to_string()),
        Value::Bool(_, value) => Some(value.to_string()),
        Value::Num(_, number) => {
            number.to_u128().map(|n| n.to_string()).or_else(|| number.to_i128().map(|n| n.to_string()))
        }
        Value::Empty(..) | Value::Dict(..) | Value::Array(..) => None,
    }
}

fn keys_in(table: &str, keys: &[Key]) -> String {
    let prefix = format!("{table}.");
    let inner: Vec<_> = keys.iter().filter_map(|(key, ..)| key.strip_prefix(&prefix)).collect();
    inner.join(", ")
}

/// The file in it, if it is a folder.
fn file(text: &str) -> PathBuf {
    let path = Path::new(text);
    if text.ends_with('/') || path.is_dir() { path.join("tercet.db") } else { path.to_owned() }
}

fn token(text: &str) -> bool {
    text.len() >= TOKEN_CHARACTERS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|time| *time >= Duration::from_secs(1))
}

fn server(text: &str) -> Option<String> {
    let rest = text.strip_prefix("http://")?.trim_end_matches('/');
    let fits = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]".contains(&b));
    fits.then(|| format!("http://{rest}"))
}

/// A variable that would set a key, were its prefix not misspelt.
fn misspelt_prefix(name: &str, keys: &[Key]) -> Option<ConfigError> {
    let nearly = |key: &str| {
        let suffix = format!("_{}", key.to_uppercase().replace('.', "__"));
        let prefix = name.strip_suffix(&suffix)?;
        let is_near = !prefix.is_empty() && strsim::damerau_levenshtein(prefix, "TERCET") <= 2;
        is_near.then(|| ConfigError::Prefix { name: name.to_owned(), meant: variable(key) })
    };
    keys.iter().find_map(|(key, ..)| nearly(key))
}

/// The environment variable that sets a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}
