//! Ports that no other test takes, also between a server's end and its next start.

use crate::ServerError;
use std::{
    fs::{File, OpenOptions},
    net::{Ipv4Addr, TcpListener, TcpStream},
    ops::RangeInclusive,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Below what systems hand out for outgoing connections, so that none of these takes a port whose server is down for a moment.
const RANGE: RangeInclusive<u16> = 10_000..=32_000;

/// A port of this machine's own, held until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// A port that nobody listens at and no other test holds.
    ///
    /// # Errors
    /// When the folder of the locks cannot be used, or every port is taken.
    pub fn claim() -> Result<Self, ServerError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = std::env::temp_dir().join("tercet-test-ports");
        std::fs::create_dir_all(&folder).map_err(ServerError::path(&folder))?;
        let width = u32::from(RANGE.end() - RANGE.start()) + 1;
        for _ in 0..width {
            // Each process begins somewhere else, and goes on in steps that are prime to the range.
            let turn = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(127);
            let offset = std::process::id().wrapping_mul(7919).wrapping_add(turn) % width;
            let number = RANGE.start() + u16::try_from(offset).unwrap_or(0);
            let path = folder.join(number.to_string());
            let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let lock = open.map_err(ServerError::path(&path))?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        let why = std::io::Error::other("every port is taken");
        Err(ServerError::path(folder)(why))
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Does somebody listen there?
    #[must_use]
    pub fn answers(&self) -> bool {
        let address = (Ipv4Addr::LOCALHOST, self.number).into();
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    }
}
