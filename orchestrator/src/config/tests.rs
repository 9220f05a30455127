//! Settings: their order, and every way to get them wrong, none of which shows a value.

use super::{Config, Limits, Setting, Sources};
use insta::assert_snapshot;
use std::time::Duration;

const CANARY: &str = "canary-5f1c0de-do-not-show";

/// Loads `file` as `tercet.toml`, with an environment and flags.
fn load(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    if !file.is_empty() {
        std::fs::write(folder.path().join("tercet.toml"), file).unwrap();
    }
    let sources = Sources {
        file: None,
        folder: folder.path().to_owned(),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        flags: flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
        ..Sources::default()
    };
    let loaded = Config::load(&sources);
    loaded.map_err(|errors| errors.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

/// What is said against a configuration; the canary must not be in it, nor in what is held.
#[track_caller]
fn wrong(file: &str, environment: &[(&str, &str)]) -> String {
    let said = load(file, environment, &[]).expect_err("it was accepted");
    assert!(!said.contains(CANARY), "a value was shown: {said}");
    said
}

#[test]
fn later_sources_win() {
    let file = "namespace = 'file'\nretention = '30 days'\n[http]\nlisten = '127.0.0.1:1'\n";
    let config = load(file, &[("TERCET_HTTP__LISTEN", "127.0.0.1:2")], &[("namespace", "flag")]).unwrap();
    assert_eq!(config.namespace.as_str(), "flag");
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.server, "http://127.0.0.1:2");
    assert_eq!(config.retention, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(config.look_ahead, Duration::from_secs(60));
    assert_eq!(config.data.to_str(), Some("tercet.db"));
    assert_eq!(config.participants().to_str(), Some("tercet-participants"));
}

#[test]
fn without_any_source_there_are_defaults() {
    let config = load("", &[("PATH", "/bin"), ("HOME", "/")], &[]).unwrap();
    assert_eq!((config.namespace.as_str(), config.listen.to_string().as_str()), ("default", "127.0.0.1:7007"));
    assert!(config.token.is_none() && config.retention.is_none() && !config.log.json);
    assert_eq!(config.limits, Limits::DEFAULT);
}

#[test]
fn how_a_participant_is_spared_can_be_set_within_bounds() {
    let file = "[participants]\nconcurrent = 8\nerrors_percent = 10\nrest = '2s'\nwindow = '1 min'\ncalls_min = 50\n";
    let config = load(file, &[("TERCET_PARTICIPANTS__TIMEOUTS_PERCENT", "30")], &[]).unwrap();
    let (rest, window) = (Duration::from_secs(2), Duration::from_secs(60));
    let limits = Limits { concurrent: 8, errors_percent: 10, timeouts_percent: 30, calls_min: 50, window, rest };
    assert_eq!(config.limits, limits);
    assert_snapshot!(wrong("[participants]\nconcurrent = 0\nerrors_percent = 101\ncalls_min = 1\nrest = '2h'\n", &[]), @r"
    `participants.calls_min` (tercet.toml, line 4) must be a number of calls, 2 or more: fewer say nothing about a participant
    `participants.concurrent` (tercet.toml, line 2) must be a number of calls, 1 to 100000: more wait in line
    `participants.errors_percent` (tercet.toml, line 3) must be a share of calls in percent, 1 to 100
    `participants.rest` (tercet.toml, line 5) must be a time of 1 s to 1 h, with its unit, as in `10s` or `5 min`
    ");
}

#[test]
fn nats_is_reached_as_it_is_set_and_no_secret_is_shown() {
    let nats = |lines: &str| load(&format!("[nats]\n{lines}"), &[], &[]).map(|config| config.nats);
    assert!(nats("").unwrap().is_none());
    let file = format!("url = 'nats://one:4222, two:4223'\nuser = 'me'\npassword = '{CANARY}'\ntls_ca = 'ca.pem'\n");
    let settings = nats(&file).unwrap().unwrap();
    assert_eq!(settings.shown(), "one:4222, two:4223");
    let shown = format!("{settings:?} {:?}", load(&format!("[nats]\n{file}"), &[], &[]));
    assert!(!shown.contains(CANARY), "{shown}");
    let from_url = load("", &[("TERCET_NATS__URL", &format!("nats://me:{CANARY}@one"))], &[]).unwrap();
    assert!(!format!("{from_url:?}").contains(CANARY));
    assert_eq!(nats("url = 'nats://one'\nreplicas = 3\n").unwrap().unwrap().replicas, Some(3));
    let said = [
        wrong(&format!("[nats]\ntoken = '{CANARY}'\n"), &[]),
        wrong(&format!("[nats]\nurl = 'http://{CANARY}'\n"), &[]),
        wrong(&format!("[nats]\nurl = 'nats://one'\npassword = '{CANARY}'\n"), &[]),
        wrong(&format!("[nats]\nurl = 'nats://one'\ntoken = '{CANARY}'\nnkey = '{CANARY}'\n"), &[]),
        wrong("[nats]\nurl = 'nats://one'\ntls_cert = 'one.pem'\n", &[]),
        wrong("[nats]\nurl = 'nats://one'\nreplicas = 2\n", &[]),
    ];
    assert_snapshot!(said.join("\n"), @r"
    tercet.toml, line 2: `nats.url` is missing
    `nats.url` (tercet.toml, line 2) must be servers, as in `nats://127.0.0.1:4222`, with commas between them
    tercet.toml, line 2: `nats.user` and `nats.password` go together: set both, or neither
    tercet.toml, line 2: of `nats.credentials`, `nats.nkey`, `nats.token` and `nats.user` only one can be set
    tercet.toml, line 2: `nats.tls_cert` and `nats.tls_key` go together: set both, or neither
    `nats.replicas` (tercet.toml, line 3) must be 1, 3 or 5: how many servers of a cluster keep each stream
    ");
}

#[test]
fn a_text_of_digits_is_a_text_wherever_it_stands() {
    let numeric = "1234567890123456";
    let from_file = load(&format!("http.token = {numeric}\nnamespace = 7"), &[], &[]).unwrap();
    assert_eq!(from_file.namespace.as_str(), "7");
    assert!(from_file.token.unwrap().matches(numeric.as_bytes()));
    let zeros = "0000000000000000";
    let from_environment = load("", &[("TERCET_HTTP__TOKEN", zeros)], &[]).unwrap();
    assert!(from_environment.token.unwrap().matches(zeros.as_bytes()));
}

#[test]
fn b49_a_misspelt_key_is_refused_with_file_line_and_the_nearest_key() {
    assert_snapshot!(wrong("namespace = 'a'\ndatabse = 'x'\nretires = 3\n[http]\nlisten = '127.0.0.1:1'\ntokn = 'x'\n", &[]), @r"
    `databse` (tercet.toml, line 2) is no setting; settings are cluster.lease, data, database.url, http.listen, http.token, ingress.wait, log.filter, log.format, look_ahead, namespace, nats.credentials, nats.nkey, nats.password, nats.replicas, nats.tls_ca, nats.tls_cert, nats.tls_key, nats.token, nats.url, nats.user, participants.calls_min, participants.concurrent, participants.errors_percent, participants.listen, participants.rest, participants.timeouts_percent, participants.window, retention, server
    `http.tokn` (tercet.toml, line 6) is no setting: did you mean `http.token`?
    `retires` (tercet.toml, line 3) is no setting; settings are cluster.lease, data, database.url, http.listen, http.token, ingress.wait, log.filter, log.format, look_ahead, namespace, nats.credentials, nats.nkey, nats.password, nats.replicas, nats.tls_ca, nats.tls_cert, nats.tls_key, nats.token, nats.url, nats.user, participants.calls_min, participants.concurrent, participants.errors_percent, participants.listen, participants.rest, participants.timeouts_percent, participants.window, retention, server
    ");
}

#[test]
fn b49_a_misspelt_variable_is_refused() {
    assert_snapshot!(wrong("", &[("TERCET_HTTP_LISTEN", "127.0.0.1:1")]), @"`http_listen` (the environment variable TERCET_HTTP_LISTEN) is no setting: did you mean `TERCET_HTTP__LISTEN`?");
    assert_snapshot!(wrong("", &[("TERCETT_HTTP__TOKEN", CANARY)]), @"the environment variable TERCETT_HTTP__TOKEN sets nothing: did you mean TERCET_HTTP__TOKEN?");
    assert_snapshot!(wrong("", &[("TERECT_NAMESPACE", "x")]), @"the environment variable TERECT_NAMESPACE sets nothing: did you mean TERCET_NAMESPACE?");
}

#[test]
fn b49_a_value_of_the_wrong_form_is_refused_with_the_right_one() {
    let file = "retention = '5'\nlook_ahead = '5 minuts'\n[http]\nlisten = '22'\n[log]\nformat = 'xml'\n";
    assert_snapshot!(wrong(file, &[]), @r"
    `http.listen` (tercet.toml, line 4) must be an IP address and a port, as in `127.0.0.1:7007`
    `log.format` (tercet.toml, line 6) must be `text` or `json`
    `look_ahead` (tercet.toml, line 2) must be a time of 1 s to 1 h, with its unit, as in `10s` or `5 min`
    `retention` (tercet.toml, line 1) must be a time of 1 s or more, with its unit, as in `30 days`
    ");
    assert_snapshot!(wrong("http.listen = '127.0.0.1:99999'", &[]), @"`http.listen` (tercet.toml, line 1) must be an IP address and a port, as in `127.0.0.1:7007`");
    assert_snapshot!(wrong("namespace = 'a b'\nserver = 'ftp://x'\ndata = ['x']", &[]), @r"
    `data` (tercet.toml, line 3) must be a path: of an SQLite file, or of a folder to keep `tercet.db` in
    `namespace` (tercet.toml, line 1) must be 1 to 64 ASCII letters, digits, `_` and `-`
    `server` (tercet.toml, line 2) must be the address of a running node, as in `http://127.0.0.1:7007`
    ");
}

#[test]
fn no_error_shows_a_value() {
    let canary = format!("'{CANARY}'");
    assert_snapshot!(wrong(&format!("http = {canary}"), &[]), @"`http` (tercet.toml, line 1) holds settings and is none itself: write `http.<name>`, with one of the names listen, token");
    assert_snapshot!(wrong(&format!("http.tokn = {canary}"), &[]), @"`http.tokn` (tercet.toml, line 1) is no setting: did you mean `http.token`?");
    assert_snapshot!(wrong(&format!("http.token = [{canary}]"), &[]), @"`http.token` (tercet.toml, line 1) must be 16 or more visible ASCII characters");
    assert_snapshot!(wrong(&format!("http.token = '{CANARY} ä'"), &[]), @"`http.token` (tercet.toml, line 1) must be 16 or more visible ASCII characters");
    assert_snapshot!(wrong(&format!("a = 1\nhttp.token = {CANARY}"), &[]), @"tercet.toml is not TOML: look at line 2, column 14");
    assert_snapshot!(wrong(&format!("http.listen = {canary}"), &[("TERCET_LOG__FORMAT", CANARY)]), @r"
    `http.listen` (tercet.toml, line 1) must be an IP address and a port, as in `127.0.0.1:7007`
    `log.format` (the environment variable TERCET_LOG__FORMAT) must be `text` or `json`
    ");
    let config = load(&format!("http.token = {canary}"), &[], &[]).unwrap();
    assert!(!format!("{config:?}").contains(CANARY));
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    assert_snapshot!(wrong("", &[("TERCET_HTTP__LISTEN", "0.0.0.0:7007")]), @"`http.listen` (the environment variable TERCET_HTTP__LISTEN) is reachable from other machines, and nothing keeps strangers out: set `http.token`, best by the environment variable TERCET_HTTP__TOKEN, or listen on 127.0.0.1");
    let config = load("", &[("TERCET_HTTP__LISTEN", "0.0.0.0:7007"), ("TERCET_HTTP__TOKEN", CANARY)], &[]).unwrap();
    assert!(config.token.is_some());
}

#[test]
fn a_named_file_must_be_there_and_be_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| {
        let sources = Sources { file: Some(folder.path().join(name)), ..Sources::default() };
        let said = Config::load(&sources).unwrap_err().to_string();
        said.replace(&folder.path().display().to_string(), "…")
    };
    assert_snapshot!(load("gone.toml"), @"failed to read the configuration file …/gone.toml: No such file or directory (os error 2); name another with --config");
    assert_snapshot!(load(""), @"failed to read the configuration file …/: Is a directory (os error 21); name another with --config");
}

#[test]
fn data_is_a_file_or_a_folder_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = |text: &str| load("", &[], &[("data", text)]).unwrap().data;
    assert_eq!(data(folder.path().to_str().unwrap()), folder.path().join("tercet.db"));
    assert_eq!(data("new/").to_str(), Some("new/tercet.db"));
    assert_eq!(data("shop.db").to_str(), Some("shop.db"));
}

#[test]
fn a_commands_own_default_gives_way_to_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let sources =
        Sources { folder: folder.path().to_owned(), defaults: vec![("log.filter", "error")], ..Sources::default() };
    let filter = |sources: &Sources| Config::load(sources).unwrap().log.filter;
    assert_eq!(filter(&sources), "error");
    let flagged = Sources { flags: vec![("log.filter", "debug".to_owned())], ..sources.clone() };
    assert_eq!(filter(&flagged), "debug");
    let environment = vec![("TERCET_LOG__FILTER".to_owned(), "warn".to_owned())];
    assert_eq!(filter(&Sources { environment, ..sources.clone() }), "warn");
    std::fs::write(folder.path().join("tercet.toml"), "[log]\nfilter = 'info'\n").unwrap();
    assert_eq!(filter(&sources), "info");
}

/// Loads `file` for a program with settings of its own.
fn load_own(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tercet.toml"), file).unwrap();
    let day = Duration::from_secs(1)..=Duration::from_secs(86_400);
    let sources = Sources {
        folder: folder.path().to_owned(),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        own: vec![
            Setting::time("sweep.every", "10min", day, "a time of 1 s to 1 day"),
            Setting::number("sweep.page", "256", 1..=10_000, "a number of rows, 1 to 10000"),
        ],
        ..Sources::default()
    };
    let loaded = Config::load(&sources);
    loaded.map_err(|errors| errors.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn a_programs_own_settings_are_read_and_checked_with_the_others() {
    let own = load_own("", &[]).unwrap().own;
    assert_eq!((own.time("sweep.every"), own.number("sweep.page")), (Some(Duration::from_secs(600)), Some(256)));
    assert_eq!((own.time("sweep.page"), own.number("other")), (None, None), "a key stands for one kind of value");
    let own = load_own("[sweep]\nevery = '30s'\n", &[("TERCET_SWEEP__PAGE", "7")]).unwrap().own;
    assert_eq!((own.time("sweep.every"), own.number("sweep.page")), (Some(Duration::from_secs(30)), Some(7)));
}

#[test]
fn a_programs_own_settings_are_refused_like_the_others() {
    let said = |file: &str, environment: &[(&str, &str)]| load_own(file, environment).unwrap_err();
    assert_snapshot!(said("[sweep]\nevery = '25h'\npage = 0\npages = 1\n", &[]), @r"
    `sweep.pages` (tercet.toml, line 4) is no setting: did you mean `sweep.page`?
    `sweep.every` (tercet.toml, line 2) must be a time of 1 s to 1 day
    `sweep.page` (tercet.toml, line 3) must be a number of rows, 1 to 10000
    ");
    assert_snapshot!(said("sweep = 1\n", &[("TERCT_SWEEP__EVERY", "1s")]), @r"
    the environment variable TERCT_SWEEP__EVERY sets nothing: did you mean TERCET_SWEEP__EVERY?
    `sweep` (tercet.toml, line 1) holds settings and is none itself: write `sweep.<name>`, with one of the names every, page
    ");
    assert_snapshot!(said("[other]\nkey = 1\n", &[]), @"`other.key` (tercet.toml, line 2) is no setting; settings are cluster.lease, data, database.url, http.listen, http.token, ingress.wait, log.filter, log.format, look_ahead, namespace, nats.credentials, nats.nkey, nats.password, nats.replicas, nats.tls_ca, nats.tls_cert, nats.tls_key, nats.token, nats.url, nats.user, participants.calls_min, participants.concurrent, participants.errors_percent, participants.listen, participants.rest, participants.timeouts_percent, participants.window, retention, server, sweep.every, sweep.page");
    assert!(
        load("[sweep]\nevery = '1s'\n", &[], &[]).unwrap_err().contains("is no setting"),
        "only who has it takes it"
    );
}
