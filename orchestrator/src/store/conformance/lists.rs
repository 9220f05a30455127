//! Lists: every filter, page by page; counts; the walk of a restart.

use super::{Tested, name, ok, raise, saga, start, starts, trying};
use crate::store::{Count, Filter, Projection, SagaRow, SagaStatus, Shards, Started};
use tercet_core::Namespace;

/// Sixty sagas: each status, each definition, every fourth parked, every fifth asking for attention.
async fn filled(store: &Tested) -> Vec<SagaRow> {
    let node = raise(store).await;
    let all: Vec<_> = (1..=60_u64)
        .map(|n| {
            let mut new = start(n, &format!("k{}", n % 30));
            new.row.definition = name(if n <= 30 { "chain" } else { "relay" });
            new.row.namespace = name(if n % 7 == 0 { "elsewhere" } else { "default" });
            new.row.projection = Projection {
                status: SagaStatus::ALL[n as usize % 5],
                parked: if n % 4 == 0 { 2 } else { 0 },
                attention: n % 6 == 0,
                ..trying(n as i64)
            };
            new
        })
        .collect();
    let rows = all.iter().map(|new| new.row.clone()).collect();
    assert_eq!(ok(store.commit(node, starts(all)).await), vec![Started::New; 60]);
    rows
}

fn filters() -> Vec<Filter> {
    let mut filters = Vec::new();
    for definition in [None, Some("chain"), Some("nobody")] {
        for status in [None, Some(SagaStatus::Trying), Some(SagaStatus::Confirmed)] {
            for parked in [None, Some(true), Some(false)] {
                for attention in [None, Some(true), Some(false)] {
                    for key in [None, Some("k5")] {
                        let (definition, key) = (definition.map(name), key.map(name));
                        let filter = Filter { definition, status, parked, attention, key, ..Filter::default() };
                        let namespace = Some(name("elsewhere"));
                        filters.push(Filter { namespace, ..filter.clone() });
                        filters.push(Filter { from: Some(saga(31)), ..filter.clone() });
                        filters.push(filter);
                    }
                }
            }
        }
    }
    filters
}

fn fits(filter: &Filter, row: &SagaRow) -> bool {
    let now = &row.projection;
    let unlike = [
        filter.namespace.as_ref().is_some_and(|wanted| *wanted != row.namespace),
        filter.from.is_some_and(|from| row.id < from),
        filter.definition.as_ref().is_some_and(|wanted| *wanted != row.definition),
        filter.status.is_some_and(|wanted| wanted != now.status),
        filter.parked.is_some_and(|wanted| wanted != (now.parked > 0)),
        filter.attention.is_some_and(|wanted| wanted != now.attention),
        filter.key.as_ref().is_some_and(|wanted| *wanted != row.key),
    ];
    !unlike.contains(&true)
}

/// Every combination of filters, in pages of four, newest first: each saga once.
pub async fn lists_filter_and_page_by_key(store: Tested) {
    let rows = filled(&store).await;
    for filter in filters() {
        let expected: Vec<_> = rows.iter().rev().filter(|row| fits(&filter, row)).cloned().collect();
        let mut found: Vec<SagaRow> = Vec::new();
        loop {
            let page = ok(store.list(filter.clone(), found.last().map(|row| row.id), 4).await);
            assert!(page.len() <= 4);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected, "{filter:?}");
    }
    assert_eq!(ok(store.list(Filter::default(), None, 0).await), []);
}

/// Each kind with how many there are; none with none.
pub async fn counts_are_by_definition_status_and_parked(store: Tested) {
    assert_eq!(ok(store.counts(None).await), []);
    let rows = filled(&store).await;
    for (namespace, all) in [(None, 60), (Some("elsewhere"), 8), (Some("nowhere"), 0)] {
        let namespace: Option<Namespace> = namespace.map(name);
        let counts = ok(store.counts(namespace.clone()).await);
        for Count { definition, status, parked, sagas } in &counts {
            let same = |row: &&SagaRow| {
                namespace.as_ref().is_none_or(|namespace| *namespace == row.namespace)
                    && row.definition == *definition
                    && row.projection.status == *status
                    && (row.projection.parked > 0) == *parked
            };
            assert_eq!(*sagas, rows.iter().filter(same).count() as u64, "{definition} {status:?} {parked}");
        }
        assert_eq!(counts.iter().map(|count| count.sagas).sum::<u64>(), all);
    }
}

/// Oldest first, whatever their status; each once, those that ended never.
pub async fn unfinished_sagas_are_walked_page_by_page(store: Tested) {
    let rows = filled(&store).await;
    let mut found = Vec::new();
    loop {
        let page = ok(store.unfinished(Shards::ALL, found.last().copied(), 7).await);
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 7);
        found.extend(page);
    }
    let expected: Vec<_> = rows.iter().filter(|row| !row.projection.status.is_end()).map(|row| row.id).collect();
    assert_eq!(found, expected);
    assert_eq!(ok(store.unfinished(Shards::ALL, Some(saga(1_000)), 7).await), []);
}
