//! `/v1/nodes`: the nodes that share this one's database, and how much of the work each owns.

use super::{App, fields::Parameters, problem::Problem, view};
use crate::store::{Member, NodeId, Shards, View};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

/// The nodes that have joined and were not taken over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Nodes {
    /// By id.
    pub nodes: Vec<NodeView>,
}

/// A node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id: of a process, never of a place.
    pub node: String,
    /// Where it runs, as it says itself.
    pub label: String,
    /// It is the one that was asked.
    pub here: bool,
    /// How many of the 1,024 shards it owns.
    pub shards: u32,
    /// Sagas of other nodes' shards that were lent to it, since it has their definitions.
    pub guests: usize,
    /// When its lease ends unless it is renewed; none where a process has its database to itself.
    pub lease: Option<String>,
    /// Its lease is over: another node is about to take it over.
    pub late: bool,
    /// Definitions and versions that it runs, as in `refund 1`.
    pub definitions: Vec<String>,
}

pub(super) async fn list(State(app): State<App>, parameters: Parameters) -> Result<Json<Nodes>, Problem> {
    parameters.end()?;
    let own = app.engine.node();
    let nodes = match app.engine.store().cluster() {
        Some(cluster) => {
            let seen = cluster.view().await?;
            seen.members.iter().map(|member| of(&seen, member, own)).collect()
        }
        None => vec![alone(&app, own)],
    };
    Ok(Json(Nodes { nodes }))
}

fn of(seen: &View, member: &Member, own: NodeId) -> NodeView {
    NodeView {
        node: member.node.to_string(),
        label: member.info.label.clone(),
        here: member.node == own,
        shards: seen.owned_by(member.node).len(),
        guests: seen.lent.values().filter(|to| **to == member.node).count(),
        lease: Some(view::moment(member.until)),
        late: member.until <= seen.now,
        definitions: member.info.definitions.iter().map(|(name, version)| format!("{name} {version}")).collect(),
    }
}

fn alone(app: &App, own: NodeId) -> NodeView {
    let definitions = app.engine.registry().iter().map(|graph| format!("{} {}", graph.name(), graph.version()));
    NodeView {
        node: own.to_string(),
        label: app.engine.settings().label.clone(),
        here: true,
        shards: Shards::ALL.len(),
        guests: 0,
        lease: None,
        late: false,
        definitions: definitions.collect(),
    }
}
