//! Runs the toy project's command in a folder of its own.

use std::{
    fmt,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

pub(crate) struct Place {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// How a command ended, and what it said.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}\n{}{}", self.code, self.out, self.err)
    }
}

/// The toy example, which is built with the tests.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let toy = test.parent().and_then(Path::parent).unwrap().join("examples/toy");
    assert!(toy.exists(), "{} is not built: cargo build -p tercet --example toy", toy.display());
    toy
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.path()).env_clear().env("USER", "ada");
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| masked(&String::from_utf8(bytes).unwrap(), self.path());
        Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a command for so long, then ends it; all that it said.
    pub(crate) fn run_for(&self, arguments: &[&str], time: std::time::Duration) -> String {
        let mut child = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(time);
        drop(child.kill());
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }

    /// What a command prints, with its ids and times.
    pub(crate) fn printed(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.command(arguments).output().unwrap().stdout).unwrap()
    }

    /// Runs a node until it is dropped, on a port of its own.
    pub(crate) fn node(&self, arguments: &[&str]) -> Node {
        let arguments = [arguments, &["--listen", "127.0.0.1:0"]].concat();
        let mut child = self.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Vec<_> = lines.by_ref().take(5).map(Result::unwrap).collect();
        let server = first.iter().find_map(|line| Some(line[line.find("http://")?..].to_owned()));
        let Some(server) = server else {
            let mut said = String::new();
            drop(child.stderr.take().unwrap().read_to_string(&mut said));
            drop(child.wait());
            panic!("the node did not start: {first:?} {said}");
        };
        Node { child, server, first }
    }
}

/// A node in a process of its own.
pub(crate) struct Node {
    child: Child,
    pub(crate) server: String,
    pub(crate) first: Vec<String>,
}

impl Node {
    /// Runs a command against this node.
    pub(crate) fn run(&self, place: &Place, arguments: &[&str]) -> Ended {
        place.run(&[arguments, &["--server", &self.server]].concat())
    }

    /// Tells it to end; gives its exit code and what it said meanwhile.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        let mut said = String::new();
        if let Some(mut err) = self.child.stderr.take() {
            drop(err.read_to_string(&mut said));
        }
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits for that, for half a minute at most.
pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..600 {
        if is() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("it has not come to this: {what}");
}

/// What a node answers, as `curl` shows it: the status code, and all that comes. `what` is a request's first line with its body below it,
/// if it has one.
pub(crate) fn asked(server: &str, what: &str) -> (u16, String) {
    let address = server.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let (line, body) = what.split_once('\n').unwrap_or((what, ""));
    let head = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer of HTTP: {answer}")), answer)
}

/// Ids, times, ports and folders as words.
pub(crate) fn masked(text: &str, folder: &Path) -> String {
    let text = text.replace(&folder.display().to_string(), "<folder>");
    let mut masked = String::new();
    for line in text.lines() {
        let words = line.split_inclusive([' ', '"', ',', '(', ')', '/', ';']);
        let shown: String = words.map(mask).collect();
        let ago = shown.split_once("<time> (").map(|(before, rest)| {
            let after = rest.split_once(')').map_or("", |(_, after)| after);
            format!("{before}<time>{after}")
        });
        masked.push_str(ago.as_deref().unwrap_or(&shown).trim_end());
        masked.push('\n');
    }
    masked
}

fn mask(word: &str) -> String {
    let bare = word.trim_end_matches([' ', '"', ',', '(', ')', '/', ';', ':', '`']);
    let bare = bare.trim_start_matches("after-");
    let is_id = bare.len() == 36 && bare.matches('-').count() == 4;
    let is_time = bare.len() == 24 && bare.ends_with('Z') && bare.contains('T');
    let is_place = bare.starts_with("127.0.0.1:");
    let mask = match (is_id, is_time, is_place) {
        (true, ..) => "<id>",
        (_, true, _) => "<time>",
        (.., true) => "<address>",
        _ => return word.to_owned(),
    };
    word.replace(bare, mask)
}
