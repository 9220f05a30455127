//! Where a world's participants are opened: a folder of its own and a clock.

use crate::time::{Clock, Time};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;
use tercet_core::Participant;

/// A folder in memory, where the machine has one: a world's files are gone with it, and nothing waits for a disk.
const IN_MEMORY: &str = "/dev/shm";

/// Who answers a saga's calls, and whatever else a test wants at hand in a [`World`](crate::World): databases, third parties.
///
/// Plain participants are a `Vec<Arc<dyn Participant>>`; with something beside them, a type of the author's own:
///
/// ```
/// use std::sync::Arc;
/// use tercet_core::Participant;
///
/// struct Trip { hotel: Arc<dyn Participant>, rooms: Vec<u32> }
/// impl tercet_testing::Participants for Trip {
///     fn all(&self) -> Vec<Arc<dyn Participant>> {
///         vec![self.hotel.clone()]
///     }
/// }
/// ```
pub trait Participants: Send + Sync + 'static {
    /// All of them.
    fn all(&self) -> Vec<Arc<dyn Participant>>;
}

impl Participants for Vec<Arc<dyn Participant>> {
    fn all(&self) -> Self {
        self.clone()
    }
}

/// Where participants are opened.
#[derive(Clone, Debug)]
pub struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) time: Arc<Time>,
}

impl Place {
    /// A folder of this world alone, for databases.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The world's clock, for services: `Service::builder(…).clock(place.clock())`. One that is given none reads the machine's,
    /// which a world begins at, unless told otherwise.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock(self.time.clone())
    }

    /// The world's time, for third parties that sleep.
    #[must_use]
    pub fn time(&self) -> &Arc<Time> {
        &self.time
    }
}

/// A folder that is gone when it is dropped.
pub(crate) fn folder(copy_of: Option<&Path>) -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("tercet-").tempdir_in(IN_MEMORY).or_else(|_| tempfile::tempdir())?;
    if let Some(from) = copy_of {
        copy(from, folder.path())?;
    }
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
