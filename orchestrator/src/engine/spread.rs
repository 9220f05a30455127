//! Who should own which shard: a pure decision over how things stand. Nodes that see the same come to the same.

use crate::store::{NodeId, Shards, View};
use tercet_core::{SHARDS, canary::broken};

/// What a node does next about ownership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Nodes whose lease has run out.
    pub(super) dead: Vec<NodeId>,
    /// Its share of what is nobody's.
    pub(super) claim: Shards,
    /// What it has too much of, and who has too little.
    pub(super) give: Vec<(NodeId, Shards)>,
}

/// What `me` does. `judges`: it has itself been there for long enough to say of another that it is not.
pub(super) fn plan(view: &View, me: NodeId, judges: bool) -> Plan {
    let is_here = |until| until > view.now;
    let is_gone = |until| !is_here(until) || broken("takes_over_a_lease_that_runs");
    let dead = view.members.iter().filter(|member| member.node != me && is_gone(member.until) && judges);
    let dead = dead.map(|member| member.node).collect();
    let here: Vec<NodeId> =
        view.members.iter().filter(|member| member.node == me || is_here(member.until)).map(|m| m.node).collect();
    let owned: Vec<Shards> = here.iter().map(|node| view.owned_by(*node)).collect();
    let away = view.members.iter().filter(|member| !here.contains(&member.node));
    let free = owned.iter().fold(Shards::ALL, |free, owned| free.without(owned));
    let free = away.fold(free, |free, member| free.without(&view.owned_by(member.node)));
    let (fair, more) = (u32::from(SHARDS) / here.len().max(1) as u32, u32::from(SHARDS) as usize % here.len().max(1));
    let share = |place: usize| fair + u32::from(place < more);
    let (mut claim, mut give) = (Shards::NONE, Vec::new());
    let mut rest = free.iter();
    // First what is free goes to those who have too little, then what some have too much of: in the order of their ids.
    let mut lacking = Vec::new();
    for (place, &node) in here.iter().enumerate() {
        let mut lacks = share(place).saturating_sub(owned[place].len());
        while lacks > 0 {
            let Some(shard) = rest.next() else { break };
            lacks -= 1;
            if node == me {
                claim.insert(shard);
            }
        }
        lacking.push((node, lacks));
    }
    for (place, &node) in here.iter().enumerate() {
        let owned = owned[place];
        let too_many = owned.len().saturating_sub(share(place)) as usize;
        let mut surplus = owned.iter().take(too_many);
        for (to, lacks) in &mut lacking {
            let some: Shards = surplus.by_ref().take(*lacks as usize).collect();
            *lacks -= some.len();
            if node == me && !some.is_empty() {
                give.push((*to, some));
            }
        }
    }
    Plan { dead, claim, give }
}

/// What a node that goes leaves to whom: an even share to each that stays.
pub(super) fn legacy(view: &View, me: NodeId) -> Vec<(NodeId, Shards)> {
    let stay: Vec<NodeId> =
        view.members.iter().filter(|m| m.node != me && m.until > view.now).map(|member| member.node).collect();
    let mut shares: Vec<(NodeId, Shards)> = stay.into_iter().map(|node| (node, view.owned_by(node))).collect();
    let had: Vec<Shards> = shares.iter().map(|(_, owned)| *owned).collect();
    for shard in view.owned_by(me).iter() {
        if let Some((_, least)) = shares.iter_mut().min_by_key(|(_, owned)| owned.len()) {
            least.insert(shard);
        }
    }
    shares.iter().zip(had).map(|((node, owned), had)| (*node, owned.without(&had))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Member, NodeInfo};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use tercet_core::{Millis, ShardId};

    fn view(nodes: &[(i64, i64)], owners: Vec<Option<i64>>) -> View {
        let info = NodeInfo { label: String::new(), definitions: Vec::new() };
        let member =
            |&(node, until): &(i64, i64)| Member { node: NodeId(node), info: info.clone(), until: Millis(until) };
        let members = nodes.iter().map(member).collect();
        let mut view = View { now: Millis(100), members, owners: BTreeMap::new(), lent: BTreeMap::new() };
        for (shard, owner) in (0..SHARDS).filter_map(ShardId::new).zip(owners) {
            if let Some(owner) = owner {
                view.owners.entry(NodeId(owner)).or_default().insert(shard);
            }
        }
        view
    }

    /// The shard changes hands, from whom it was before.
    fn moves(view: &mut View, shard: ShardId, to: NodeId) -> Option<NodeId> {
        let one: Shards = [shard].into_iter().collect();
        let from = view.owners.iter_mut().find(|(_, owned)| owned.contains(shard));
        let from = from.map(|(node, owned)| {
            *owned = owned.without(&one);
            *node
        });
        view.owners.entry(to).or_default().insert(shard);
        from
    }

    /// Everybody does what its plan says, over and over.
    fn settle(view: &mut View) -> (u32, u32) {
        let (mut rounds, mut moved) = (0, 0);
        loop {
            let nodes: Vec<NodeId> = view.members.iter().filter(|m| m.until > view.now).map(|m| m.node).collect();
            let plans: Vec<(NodeId, Plan)> = nodes.iter().map(|&node| (node, plan(view, node, true))).collect();
            if plans.iter().all(|(_, plan)| *plan == Plan::default()) || rounds == 10 {
                return (rounds, moved);
            }
            rounds += 1;
            for (node, plan) in plans {
                view.members.retain(|member| !plan.dead.contains(&member.node));
                for shard in plan.claim.iter() {
                    let before = moves(view, shard, node);
                    assert!(before.is_none_or(|owner| !nodes.contains(&owner)), "{shard:?} is claimed twice");
                    moved += 1;
                }
                for (to, shards) in plan.give {
                    for shard in shards.iter() {
                        assert_eq!(moves(view, shard, to), Some(node));
                        moved += 1;
                    }
                }
            }
        }
    }

    fn spread(view: &View) -> Vec<u32> {
        view.members.iter().map(|member| view.owned_by(member.node).len()).collect()
    }

    #[test]
    fn the_first_takes_all_and_gives_the_second_half() {
        let mut view = view(&[(1, 200)], vec![None; 1_024]);
        assert_eq!(settle(&mut view), (1, 1_024));
        view.members.push(Member { node: NodeId(2), ..view.members[0].clone() });
        assert_eq!((settle(&mut view), spread(&view)), ((1, 512), vec![512, 512]));
        view.members.push(Member { node: NodeId(-7), ..view.members[0].clone() });
        view.members.sort_by_key(|member| member.node);
        assert_eq!((settle(&mut view), spread(&view)), ((1, 342 - 1 + 1), vec![342, 341, 341]));
    }

    #[test]
    fn nobody_is_judged_by_one_who_was_away() {
        let view = view(&[(1, 200), (2, 90)], vec![Some(2); 1_024]);
        assert_eq!(plan(&view, NodeId(1), false), Plan::default());
        assert_eq!(plan(&view, NodeId(1), true).dead, [NodeId(2)]);
    }

    #[test]
    fn who_goes_leaves_an_even_share_to_each() {
        let mut view = view(&[(1, 200), (2, 200), (3, 200), (4, 90)], vec![None; 1_024]);
        settle(&mut view);
        for (to, shards) in legacy(&view, NodeId(1)) {
            for shard in shards.iter() {
                assert_eq!(moves(&mut view, shard, to), Some(NodeId(1)));
            }
        }
        assert_eq!(spread(&view), [0, 512, 512]);
        assert_eq!(legacy(&self::view(&[(1, 200)], vec![Some(1); 1_024]), NodeId(1)), []);
    }

    proptest! {
        /// Whoever owned what before, all is owned after few rounds, evenly, by nodes that are there, and no more was moved than had to be.
        #[test]
        fn every_shard_ends_at_a_node_that_is_there(
            nodes in prop::collection::btree_map(-9i64..9, prop_oneof![Just(90i64), Just(200)], 1..6),
            owners in prop::collection::vec(prop::option::of(-9i64..9), 1_024),
        ) {
            let nodes: Vec<(i64, i64)> = nodes.into_iter().collect();
            prop_assume!(nodes.iter().any(|(_, until)| *until == 200));
            let mut view = view(&nodes, owners);
            let here: Vec<NodeId> = nodes.iter().filter(|(_, until)| *until == 200).map(|(node, _)| NodeId(*node)).collect();
            let fair = 1_024 / here.len() as u32;
            let too_many = |owned: u32| owned.saturating_sub(fair + 1);
            let lost: u32 = 1_024 - here.iter().map(|node| view.owned_by(*node).len()).sum::<u32>();
            let surplus: u32 = here.iter().map(|node| too_many(view.owned_by(*node).len())).sum();
            let (rounds, moved) = settle(&mut view);
            prop_assert!(rounds <= 3, "{rounds} rounds");
            prop_assert!(spread(&view).iter().all(|owned| *owned == fair || *owned == fair + 1));
            prop_assert_eq!(spread(&view).iter().sum::<u32>(), 1_024);
            prop_assert!(moved <= lost + surplus + 2 * here.len() as u32, "{} moved, {} had to", moved, lost + surplus);
        }
    }
}
