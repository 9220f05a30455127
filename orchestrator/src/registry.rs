//! The registry: the definitions that a process runs, several versions side by side.

use std::{collections::BTreeMap, sync::Arc};
use tercet_core::{BuildErrors, Data, Definition, DefinitionName, Graph};

/// The definitions of a process.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    graphs: BTreeMap<(DefinitionName, u32), Arc<Graph>>,
}

/// A definition that cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It is wrong in itself.
    #[error("definition `{name}`: {errors}")]
    Build {
        /// Its name.
        name: String,
        /// What is wrong.
        errors: BuildErrors,
    },
    /// Another one has its name and version.
    #[error("two different definitions are called `{name}` version {version}: give the newer one the next version")]
    Twice {
        /// The name.
        name: DefinitionName,
        /// The version.
        version: u32,
    },
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a definition, and with it the sagas that it starts as children or to undo.
    ///
    /// # Errors
    /// When the definition is wrong, or differs from one of the same name and version.
    pub fn with<In: Data, Out: Data>(mut self, definition: Definition<In, Out>) -> Result<Self, RegistryError> {
        let name = format!("{definition:?}");
        let graph = definition.build().map_err(|errors| RegistryError::Build { name, errors })?;
        self.add(graph)?;
        Ok(self)
    }

    fn add(&mut self, graph: Arc<Graph>) -> Result<(), RegistryError> {
        let at = (graph.name().clone(), graph.version());
        if let Some(known) = self.graphs.get(&at) {
            if known.fingerprint() == graph.fingerprint() {
                return Ok(());
            }
            return Err(RegistryError::Twice { name: at.0, version: at.1 });
        }
        let children: Vec<_> = graph.children().cloned().collect();
        self.graphs.insert(at, graph);
        children.into_iter().try_for_each(|child| self.add(child))
    }

    /// That version of a definition.
    #[must_use]
    pub fn get(&self, name: &DefinitionName, version: u32) -> Option<&Arc<Graph>> {
        self.graphs.get(&(name.clone(), version))
    }

    /// The newest version of a definition: what a start without a version gets.
    #[must_use]
    pub fn newest(&self, name: &DefinitionName) -> Option<&Arc<Graph>> {
        self.graphs.range((name.clone(), 0)..=(name.clone(), u32::MAX)).next_back().map(|(_, graph)| graph)
    }

    /// All of them, by name and version.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Graph>> {
        self.graphs.values()
    }
}
