//! A proxy in front of a server: it passes everything on, until it is told to lose something, to be cut, or to stall.

use crate::{Port, ServerError};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// What happens to what passes by.
#[derive(Debug, Default)]
struct Plan {
    lose: Option<Lose>,
    lost: u32,
    cut: bool,
    stalled: bool,
    ended: bool,
    /// Both ends of each connection, to break it.
    open: BTreeMap<u64, [TcpStream; 2]>,
    made: u64,
}

/// What is lost when it comes by.
#[derive(Debug)]
struct Lose {
    text: Vec<u8>,
    /// Wherever it stands, not at the end alone.
    anywhere: bool,
    /// How often still.
    times: u32,
    /// The server has got it by then.
    arrives: bool,
}

impl Lose {
    fn is_of(&self, request: &[u8]) -> bool {
        // PostgreSQL's texts end with a zero.
        let ends = || request.strip_suffix(&[0]).unwrap_or(request).ends_with(&self.text);
        if self.anywhere { request.windows(self.text.len()).any(|part| part == self.text) } else { ends() }
    }
}

#[derive(Debug, Default)]
struct Shared {
    plan: Mutex<Plan>,
    changed: Condvar,
}

/// A proxy; it is gone when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy in front of what listens at `target` on this machine.
    ///
    /// # Errors
    /// When it finds no port.
    pub fn start(target: u16) -> Result<Self, ServerError> {
        let port = Port::claim()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).map_err(ServerError::path("proxy"))?;
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.plan().ended {
                    return;
                }
                accepting.connect(client, target);
            }
        });
        Ok(Self { port, shared })
    }

    /// The port that it listens at.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `url` by way of this proxy: it names the server's port.
    #[must_use]
    pub fn url(&self, url: &str, target: u16) -> String {
        url.replace(&format!(":{target}/"), &format!(":{}/", self.port()))
    }

    /// Loses what the server answers to the next `times` requests that end with `text`, and breaks the connection: it was done, and
    /// nobody is told.
    pub fn lose_answers(&self, text: &str, times: u32) {
        self.lose(text, false, times, true);
    }

    /// Loses the next `times` requests that end with `text`, and breaks the connection: it was not done, and nobody is told.
    pub fn lose_requests(&self, text: &str, times: u32) {
        self.lose(text, false, times, false);
    }

    /// As [`lose_answers`](Self::lose_answers) where `arrives`, else as [`lose_requests`](Self::lose_requests): the next request in which
    /// `text` stands anywhere.
    pub fn lose_one_with(&self, text: &str, arrives: bool) {
        self.lose(text, true, 1, arrives);
    }

    fn lose(&self, text: &str, anywhere: bool, times: u32, arrives: bool) {
        self.shared.plan().lose = Some(Lose { text: text.as_bytes().to_vec(), anywhere, times, arrives });
    }

    /// How often something was lost.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.shared.plan().lost
    }

    /// Breaks every connection, and lets no new one through until [`mend`](Self::mend).
    pub fn cut(&self) {
        let mut plan = self.shared.plan();
        plan.cut = true;
        plan.break_all();
    }

    /// Lets nothing through, and breaks nothing, until [`mend`](Self::mend).
    pub fn stall(&self) {
        self.shared.plan().stalled = true;
    }

    /// Lets everything through again; what was stalled goes on its way.
    pub fn mend(&self) {
        let mut plan = self.shared.plan();
        (plan.cut, plan.stalled) = (false, false);
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut plan = self.shared.plan();
        (plan.ended, plan.stalled) = (true, false);
        plan.break_all();
        self.shared.changed.notify_all();
        drop(plan);
        // So that the listener looks up.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())));
    }
}

impl Plan {
    fn break_all(&mut self) {
        for end in self.open.values().flatten() {
            let _ = end.shutdown(Shutdown::Both);
        }
        self.open.clear();
    }
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, client: TcpStream, target: u16) {
        if self.plan().cut {
            return;
        }
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { return };
        let copies = [client.try_clone(), client.try_clone(), server.try_clone(), server.try_clone()];
        let [Ok(c1), Ok(c2), Ok(s1), Ok(s2)] = copies else { return };
        for end in [&client, &server] {
            let _ = end.set_nodelay(true);
        }
        let mut plan = self.plan();
        plan.made += 1;
        let number = plan.made;
        plan.open.insert(number, [c1, s1]);
        drop(plan);
        let losing = Arc::new(AtomicBool::new(false));
        let (there, back) = (Arc::clone(self), Arc::clone(self));
        let lost = Arc::clone(&losing);
        thread::spawn(move || there.pass(number, c2, server, |bytes, shared| shared.request(bytes, &lost)));
        thread::spawn(move || back.pass(number, s2, client, |_, _| !losing.load(Ordering::SeqCst)));
    }

    /// What becomes of a request: `false`, it is lost.
    fn request(&self, bytes: &[u8], losing: &AtomicBool) -> bool {
        let mut plan = self.plan();
        let Some(lose) = &mut plan.lose else { return true };
        if lose.times == 0 || !lose.is_of(bytes) {
            return true;
        }
        lose.times -= 1;
        let arrives = lose.arrives;
        plan.lost += 1;
        losing.store(arrives, Ordering::SeqCst);
        arrives
    }

    /// Passes on what `from` says until one end breaks or `passes` says no.
    fn pass(&self, number: u64, mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8], &Self) -> bool) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let mut plan = self.plan();
            while plan.stalled {
                plan = self.changed.wait(plan).unwrap_or_else(PoisonError::into_inner);
            }
            drop(plan);
            if !passes(&buffer[..read], self) || to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        for end in [from, to] {
            let _ = end.shutdown(Shutdown::Both);
        }
        self.plan().open.remove(&number);
    }
}
