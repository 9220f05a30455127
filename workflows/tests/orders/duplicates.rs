//! 200 submissions of one order at once, under one key and under many: one order, and one id in every answer.

use crate::{
    buyers::{placed, world},
    support::{Holds, Kept, World, id},
};
use std::{collections::BTreeSet, time::Duration};
use tercet_workflows::{
    create_order::OrderRequest,
    desk::{self, Submitted},
};
use tokio::task::JoinSet;

/// All of these at once; the answers.
async fn all_at_once(world: &World, requests: Vec<OrderRequest>) -> Vec<Submitted> {
    let (engine, process) = (world.engine(), world.process());
    world
        .drive(async move {
            let mut submissions = JoinSet::new();
            for request in requests {
                let (engine, env): (_, tercet::Env) = (engine.clone(), process.clone());
                let limit = Duration::from_secs(24 * 3600);
                submissions.spawn(async move { desk::submit(&engine, &env, &request, limit).await.unwrap() });
            }
            submissions.join_all().await
        })
        .await
}

#[tokio::test]
async fn two_hundred_submissions_at_once_are_one_order_with_one_id_in_every_answer() {
    let world = world(351, Kept::OnDisk).await;
    for round in 0..3 {
        let buyer = world.buyer().await;
        let before = world.ledger().await;
        let of = |number: u32| match number % 4 {
            0 | 1 => buyer.clone(),
            2 => OrderRequest { key: id(&format!("click-{round}-{number}")), ..buyer.clone() },
            _ => OrderRequest { key: id(&format!("shared-{round}-{}", number % 3)), ..buyer.clone() },
        };
        let requests: Vec<_> = if round == 1 { (0..200).rev().map(of).collect() } else { (0..200).map(of).collect() };
        let answers = all_at_once(&world, requests).await;
        let answers: Vec<_> = answers.into_iter().map(placed).collect();
        let ids: BTreeSet<_> = answers.iter().map(|(order, _)| order.clone()).collect();
        assert_eq!((answers.len(), ids.len()), (200, 1));
        assert_eq!(answers.iter().filter(|(_, duplicate)| !duplicate).count(), 1, "one of them placed it");
        world.pass(Duration::from_secs(60)).await;
        let change = |now: u64, then: u64| now - then;
        let after = world.ledger().await;
        let pending = |ledger: &tercet_shop::Ledger| ledger.orders.states.get("pending_payment").copied().unwrap_or(0);
        assert_eq!(change(pending(&after), pending(&before)), 1);
        assert_eq!(after.stock.held - before.stock.held, 4);
        assert_eq!(world.told(&buyer).await, Vec::<String>::new(), "nobody is told of a cancelled duplicate");
        world.slate(&before, Holds::Some).await;
    }
}
