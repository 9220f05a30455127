//! What needs no node.

use crate::support::Place;
use insta::assert_snapshot;

#[test]
fn help_names_every_command() {
    assert_snapshot!(Place::new().run(&["--help"]), @"
    exit 0
    Sagas in three verbs: try, confirm, cancel

    Usage: toy [OPTIONS] <COMMAND>

    Commands:
      dev          Run everything on this machine: database, in-process participants, API on loopback
      serve        Run a node on a migrated database
      saga         Start, look at and operate sagas of a running node
      definition   Look at the definitions that this command holds, offline
      events       Look at what participants publish
      dead-letter  Look at what came by way of a stream and can never succeed
      node         Look at the nodes of a database
      participant  Look at the participants that are there over NATS
      migrate      Make the database, or bring it to this version's schema
      echo         Say something
      completions  Print completions for a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
          --config <FILE>
              Read settings from this file instead of ./tercet.toml

      -o, --output <OUTPUT>
              How to answer

              Possible values:
              - table:   For people
              - json:    One JSON value
              - jsonl:   One JSON value a line
              - mermaid: A drawing for Markdown (graphs only)
              - dot:     A drawing for Graphviz (graphs only)
              - tree:    A drawing for terminals (graphs only)

              [default: table]

          --server <URL>
              The node to talk to, as in http://<address>

          --log <LEVELS>
              What to log, as in info or warn,tercet=debug

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Exit codes: 0 done, 1 anything else, 2 called wrongly, 3 not found, 4 conflict, 5 unavailable, 6 not
    allowed; of `saga start --wait`: 7 cancelled, 8 parked in front of a person, 9 not there yet
    ");
}

#[test]
fn a_wrong_call_is_exit_2() {
    let place = Place::new();
    assert_snapshot!(place.run(&["sga", "list"]), @"
    exit 2
    error: unrecognized subcommand 'sga'

      tip: a similar subcommand exists: 'saga'

    Usage: toy [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(place.run(&["saga", "lsit"]), @"
    exit 2
    error: unrecognized subcommand 'lsit'

      tip: a similar subcommand exists: 'list'

    Usage: toy saga [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(place.run(&["saga", "start", "quick"]), @"
    exit 2
    error: the following required arguments were not provided:
      --key <KEY>

    Usage: toy saga start --key <KEY> <DEFINITION>

    For more information, try '--help'.
    ");
    assert_snapshot!(place.run(&["saga", "list", "-o", "xml"]), @"
    exit 2
    error: invalid value 'xml' for '--output <OUTPUT>'
      [possible values: table, json, jsonl, mermaid, dot, tree]

    For more information, try '--help'.
    ");
    assert_snapshot!(place.run(&["saga", "list", "-o", "dot"]), @"
    exit 2
    error: this command draws no graph: use -o table, json or jsonl
    ");
    assert_snapshot!(place.run(&["saga", "resolve", "x", "--step", "s", "--reason", "r"]), @"
    exit 2
    error: the following required arguments were not provided:
      <--done <REPLY>|--not-done|--query|--close>

    Usage: toy saga resolve --step <STEP> --reason <REASON> --by <BY> <--done <REPLY>|--not-done|--query|--close> <SAGA>

    For more information, try '--help'.
    ");
    assert_snapshot!(place.run(&["dev", "--sagas", "3"]), @"
    exit 2
    error: the following required arguments were not provided:
      --demo

    Usage: toy dev --demo --sagas <SAGAS>

    For more information, try '--help'.
    ");
}

#[test]
fn definitions_are_looked_at_without_a_node() {
    let place = Place::new();
    assert_snapshot!(place.run(&["definition", "list"]), @"
    exit 0
    NAME   VERSION  STEPS  FINGERPRINT
    quick  1        1      f35c9efaedce
    stuck  1        2      7f956aef00cf
    trip   1        3      50882985be6a
    trip   2        3      1f7c11f4bb43
    visit  1        2      d8fe0c4e55ea
    ");
    assert_snapshot!(place.run(&["definition", "show", "trip"]), @"
    exit 0
    trip version 2, to be decided within 1h
    fingerprint 1f7c11f4bb4398b544b8bf79d0d86de7619b6fe23e66b7a9de2d361967aa4bd2
    starts with {\"note\"?: a text or null, \"seats\": a whole number, \"traveller\": a text}

    STEP  KIND       PART       ASKS            WITHIN  READS
    seat  tcc        trying     flights.hold/1          input
    pay   pivot      trying     bank.pay/1              seat
    tell  retriable  confirmed  mail.send/1             pay
    ");
    assert_snapshot!(place.run(&["definition", "graph", "trip"]), @"
    exit 0
    trip@2
    ├── before the decision
    │   ├── seat (tcc flights.hold/1)
    │   └── ◆ pay (pivot bank.pay/1) ← seat
    ├── decision
    └── on confirmed
        └── tell (retriable mail.send/1) ← pay
    ");
    assert_snapshot!(place.run(&["definition", "graph", "quick", "-o", "mermaid"]), @r#"
    exit 0
    flowchart TB
        subgraph trying["before the decision"]
            s0["seat<br/>tcc flights.hold/1"]
        end
        decision{{"decision"}}
        s0 -.-> decision
    "#);
    assert_snapshot!(place.run(&["definition", "graph", "tirp"]), @"
    exit 3
    error: no definition `tirp` is known here; did you mean `trip`? known are: quick, stuck, trip, visit
    ");
    assert_snapshot!(place.run(&["definition", "show", "trip", "--version", "9"]), @"
    exit 2
    error: `trip` has no version 9 here; it has: 1, 2
    ");
    assert_snapshot!(place.run(&["definition", "lint"]), @"
    exit 0
    nothing to say: quick 1, stuck 1, trip 1, trip 2, visit 1 are as they should be
    ");
    let json = place.run(&["definition", "list", "-o", "jsonl"]);
    assert!(json.code == 0 && json.out.lines().count() == 5 && json.out.lines().all(|line| line.starts_with('{')));
}

#[test]
fn completions_are_a_script() {
    let place = Place::new();
    for (shell, shown) in [("bash", "_toy()"), ("zsh", "#compdef toy"), ("fish", "complete -c toy")] {
        let ended = place.run(&["completions", shell]);
        let words = ["resolve", "parked", "cancelling", shown];
        assert!(ended.code == 0 && words.iter().all(|word| ended.out.contains(word)), "{ended}");
    }
    assert_snapshot!(place.run(&["completions", "tcsh"]), @"
    exit 2
    error: invalid value 'tcsh' for '<shell>'
      [possible values: bash, elvish, fish, powershell, zsh]

      tip: a similar value exists: 'zsh'

    For more information, try '--help'.
    ");
}

#[test]
fn filters_that_cannot_be_are_exit_2() {
    let place = Place::new();
    assert_snapshot!(place.run(&["saga", "list", "--state", "done"]), @"
    exit 2
    error: invalid value 'done' for '--status <STATUS>'
      [possible values: trying, confirming, cancelling, confirmed, cancelled]

    For more information, try '--help'.
    ");
    assert_snapshot!(place.run(&["saga", "list", "--since", "yesterday"]), @"
    exit 2
    error: invalid value 'yesterday' for '--since <WHEN>': give a moment, as in 2026-11-25T06:53:48Z, or how long ago, as in 2h or 3 days

    For more information, try '--help'.
    ");
    assert_snapshot!(place.run(&["saga", "list", "--all", "--limit", "7"]), @"
    exit 2
    error: the argument '--all' cannot be used with '--limit <N>'

    Usage: toy saga list --all

    For more information, try '--help'.
    ");
}

#[test]
fn a_projects_own_command_runs() {
    assert_snapshot!(Place::new().run(&["echo", "one", "two"]), @"
    exit 0
    one two
    ");
}

#[test]
fn a_demo_runs_on_a_database_that_it_makes() {
    assert_snapshot!(Place::new().run(&["dev", "--demo", "--sagas", "2"]), @"
    exit 0
    2 sagas ended
    ");
}

#[test]
fn b49_settings_that_are_wrong_are_refused_with_exit_2() {
    let place = Place::new();
    place.write("tercet.toml", "[http]\nlisten = '127.0.0.1:0'\ntokne = 'canary'\n");
    assert_snapshot!(place.run(&["serve"]), @"
    exit 2
    error: `http.tokne` (tercet.toml, line 3) is no setting: did you mean `http.token`?
    ");
    assert_snapshot!(place.run(&["saga", "list", "--config", "none.toml"]), @"
    exit 2
    error: failed to read the configuration file none.toml: No such file or directory (os error 2); name another with --config
    ");
    let place = Place::new().with("TERCET_HTTP_TOKEN", "canary").with("TERCETT_NAMESPACE", "canary");
    assert_snapshot!(place.run(&["saga", "list"]), @"
    exit 2
    error: the environment variable TERCETT_NAMESPACE sets nothing: did you mean TERCET_NAMESPACE?
    `http_token` (the environment variable TERCET_HTTP_TOKEN) is no setting: did you mean `TERCET_HTTP__TOKEN`?
    ");
    let place = Place::new();
    assert_snapshot!(place.run(&["serve", "--listen", "0.0.0.0:0"]), @"
    exit 2
    error: `http.listen` (the flag --listen) is reachable from other machines, and nothing keeps strangers out: set `http.token`, best by the environment variable TERCET_HTTP__TOKEN, or listen on 127.0.0.1
    ");
    assert_snapshot!(place.run(&["serve", "--listen", "22"]), @"
    exit 2
    error: `http.listen` (the flag --listen) must be an IP address and a port, as in `127.0.0.1:7007`
    ");
}

#[test]
fn no_node_is_exit_5_and_says_what_to_do() {
    let place = Place::new();
    let nobody = ["saga", "list", "--server", "http://127.0.0.1:1"];
    assert_snapshot!(place.run(&nobody), @"
    exit 5
    error: no tercet is listening at http://<address>: start one with `toy serve`, or `toy dev` to try it
    ");
    assert_snapshot!(place.run(&["saga", "list", "--server", "nowhere"]), @"
    exit 2
    error: `server` (the flag --server) must be the address of a running node, as in `http://<address>`
    ");
}

#[test]
fn input_that_cannot_be_read_is_exit_2_and_named() {
    let place = Place::new();
    place.write("half.json", "{\"a\": ");
    let start = |input: &str| {
        place.run(&["saga", "start", "quick", "--key", "k", "--input", input, "--server", "http://127.0.0.1:1"])
    };
    assert_snapshot!(start("@none.json"), @"
    exit 2
    error: failed to read none.json: No such file or directory (os error 2)
    ");
    assert_snapshot!(start("@."), @"
    exit 2
    error: failed to read .: Is a directory (os error 21)
    ");
    assert_snapshot!(start("@half.json"), @"
    exit 2
    error: half.json is not JSON: EOF while parsing a value at line 1 column 6; give JSON, @file, or - for the input stream
    ");
    assert_snapshot!(start("-"), @"
    exit 2
    error: the input stream is not JSON: EOF while parsing a value at line 1 column 0; give JSON, @file, or - for the input stream
    ");
    assert_snapshot!(start("{seats: 1}"), @"
    exit 2
    error: the argument is not JSON: key must be a string at line 1 column 2; give JSON, @file, or - for the input stream
    ");
}
