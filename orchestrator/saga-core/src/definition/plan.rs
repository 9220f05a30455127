//! What follows from a graph's edges: chains of enclosing scopes, what a step waits for, what is undone before what.

use super::{Mapper, Node, NodeId};
use crate::{
    ContractName,
    dsl::{From, Source},
};
use std::collections::{BTreeMap, BTreeSet};

/// Derived once when a definition is built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// A step by its name.
    pub(crate) by_name: BTreeMap<String, NodeId>,
    /// For each step the branches and fan-outs around it, outermost first.
    pub(crate) chains: Vec<Vec<NodeId>>,
    /// Steps outside every scope.
    pub(crate) outer: Vec<NodeId>,
    /// For each branch and fan-out the steps directly in it.
    pub(crate) inner: Vec<Vec<NodeId>>,
    /// For each step its operation's name.
    pub(crate) contracts: Vec<Option<ContractName>>,
    /// For each step what must be there before it starts, its enclosing scope apart.
    pub(crate) needs: Vec<Vec<Source>>,
    /// For each step all steps that depend on it, at any distance: they are undone before it.
    pub(crate) dependents: Vec<BTreeSet<NodeId>>,
}

impl Plan {
    pub(crate) fn of(nodes: &[Node]) -> Self {
        let by_name = (0..).zip(nodes).map(|(id, node)| (node.name.to_string(), id)).collect();
        let chains: Vec<_> = nodes.iter().map(|node| chain(nodes, node.within)).collect();
        let needs: Vec<_> = nodes.iter().map(needs).collect();
        let dependents = dependents(nodes, &chains, &needs);
        let standing_in = |scope: Option<NodeId>| -> Vec<NodeId> {
            (0..).zip(nodes).filter(|(_, node)| node.within == scope).map(|(id, _)| id).collect()
        };
        let outer = standing_in(None);
        let inner = (0..).zip(nodes).map(|(id, _)| standing_in(Some(id))).collect();
        let contracts = nodes.iter().map(|node| node.contract.as_ref()?.parse().ok()).collect();
        Self { by_name, chains, outer, inner, contracts, needs, dependents }
    }

    /// The scopes around what `from` names, outermost first.
    pub(crate) fn chain_of(&self, from: From) -> Vec<NodeId> {
        match from {
            From::Input => Vec::new(),
            From::Done(node) | From::IfDone { node, .. } => self.chains[node as usize].clone(),
            From::Item(scope) => {
                let mut chain = self.chains[scope as usize].clone();
                chain.push(scope);
                chain
            }
        }
    }
}

fn chain(nodes: &[Node], within: Option<NodeId>) -> Vec<NodeId> {
    let mut chain = Vec::new();
    let mut next = within;
    while let Some(scope) = next {
        chain.push(scope);
        next = nodes[scope as usize].within;
    }
    chain.reverse();
    chain
}

fn needs(node: &Node) -> Vec<Source> {
    let mappers = [&node.request, &node.key, &node.otherwise];
    let read = mappers.into_iter().flatten().flat_map(|mapper: &Mapper| mapper.sources().iter().copied());
    let mut needs: Vec<Source> = Vec::new();
    for source in read.chain(node.after.iter().copied()) {
        if source.from != From::Input && !needs.contains(&source) {
            needs.push(source);
        }
    }
    needs
}

/// Declaration order is an order of dependency, so one pass from the last step to the first closes the relation. (The pivot
/// depends on every other step before the decision, but is never undone.)
fn dependents(nodes: &[Node], chains: &[Vec<NodeId>], needs: &[Vec<Source>]) -> Vec<BTreeSet<NodeId>> {
    let mut all = vec![BTreeSet::new(); nodes.len()];
    for at in (0..nodes.len()).rev() {
        let mut own = all[at].clone();
        own.extend(u32::try_from(at));
        let direct = needs[at].iter().filter_map(|source| source.from.node());
        for earlier in direct.chain(chains[at].iter().copied()).filter(|&earlier| (earlier as usize) < at) {
            all[earlier as usize].extend(own.iter().copied());
        }
    }
    all
}
