//! Appends that depend on what others append at the same time.

use es_core::{
    AppendError, Appended, Batch, Claim, Criteria, EventStore, EventStoreExt, Name, Position, Read,
};
use es_postgres::PostgresStore;
use es_testkit::fake;
use futures_util::future::join_all;

use crate::{
    log::{Log, begin, begin_append, numbers, on_a_log, pid, run, taken_row, to},
    ours::Follower,
};

const ROUNDS: usize = 100;
const RIVALS: usize = 4;

/// An event of this type, for this stream, that bears the tag.
fn tagged(stream: &str, kind: &str, tag: &str) -> Batch {
    Batch::to(fake::stream(stream)).event(fake::event(kind).tag("seat", tag).build())
}

fn seat(tag: &str) -> Criteria {
    Criteria::tag(fake::tag("seat", tag))
}

/// Takes the seat, unless somebody has.
fn take_seat(stream: &str, tag: &str) -> Batch {
    tagged(stream, "seat.taken", tag).unless(seat(tag), Position::START)
}

fn take_name(stream: &str, key: &str) -> Batch {
    to(stream).claim(Claim::take("name", key, fake::stream(stream)).expect("a claim"))
}

/// One round: rivals in two processes, at once.
async fn rivals(
    stores: [&PostgresStore; 2],
    batch: impl Fn(usize) -> Batch,
) -> (Vec<Appended>, Vec<AppendError>) {
    let appends = (0..RIVALS).map(|n| stores[n % 2].append(batch(n)));
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for outcome in join_all(appends).await {
        match outcome {
            Ok(appended) => won.push(appended),
            Err(error) => lost.push(error),
        }
    }
    (won, lost)
}

#[tokio::test]
async fn of_rivals_with_one_condition_exactly_one_wins() {
    on_a_log("unless", async |log| {
        let elsewhere = log.another_store().await;
        let follower = Follower::of_all(&elsewhere);
        for round in 0..ROUNDS {
            let tag = format!("{round}");
            let batch = |n| take_seat(&format!("guest-{round}-{n}"), &tag);
            let (won, lost) = rivals([&log.store, &elsewhere], batch).await;
            let [winner] = won.as_slice() else { panic!("{} winners in {round}", won.len()) };
            for error in lost {
                let AppendError::Overtaken { position } = error else { panic!("{error}") };
                assert_eq!(position, winner.position);
            }
        }
        follower.assert_whole(log).await;
        assert_eq!(log.positions().await.len(), ROUNDS);
        elsewhere.close().await;
    })
    .await;
}

#[tokio::test]
async fn rivals_that_look_before_they_append_all_win() {
    on_a_log("looking", async |log| {
        let elsewhere = log.another_store().await;
        for store in [&log.store, &elsewhere] {
            let taken = store.events(Read::matching(seat("1"))).await.expect("events");
            assert!(taken.is_empty());
        }
        let batch = |n| tagged(&format!("guest-{n}"), "seat.taken", "1");
        let (won, _) = rivals([&log.store, &elsewhere], batch).await;
        assert_eq!(won.len(), RIVALS);
        elsewhere.close().await;
    })
    .await;
}

#[tokio::test]
async fn of_rivals_for_one_name_exactly_one_wins() {
    on_a_log("claims", async |log| {
        let elsewhere = log.another_store().await;
        let follower = Follower::of_all(&elsewhere);
        for round in 0..ROUNDS {
            let name = |n| format!("user-{round}-{n}");
            let batch = |n| take_name(&name(n), &format!("ada-{round}"));
            let (won, lost) = rivals([&log.store, &elsewhere], batch).await;
            assert_eq!(won.len(), 1, "winners in {round}");
            for error in lost {
                let AppendError::Claimed { holder, .. } = error else { panic!("{error}") };
                let events = log.store.events(Read::stream(&holder)).await.expect("events");
                assert_eq!(events[0].position, won[0].position);
            }
        }
        follower.assert_whole(log).await;
        assert_eq!(log.positions().await.len(), ROUNDS);
        elsewhere.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_condition_waits_for_an_append_under_way_that_meets_it() {
    on_a_log("unless_held", async |log| {
        let held = log.hold(tagged("guest-1", "seat.taken", "1")).await;
        let waiting = begin_append(&log.store, take_seat("guest-2", "1"));
        log.until_blocked_by(held.pid).await;
        let first = held.appended.position;
        held.commit().await;
        let outcome = waiting.end().await;
        assert!(
            matches!(outcome, Err(AppendError::Overtaken { position }) if position == first),
            "{outcome:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_condition_that_does_not_wait_is_broken() {
    on_a_log("unless_bad", async |log| {
        let broken = log.broken("pg_advisory_xact_lock(integer, integer) RETURNS void").await;
        let held = log.hold(tagged("guest-1", "seat.taken", "1")).await;
        let outcome = broken.append(take_seat("guest-2", "1")).await;
        held.commit().await;
        outcome.expect("a second guest on the seat");
        broken.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_condition_holds_if_the_append_under_way_is_rolled_back() {
    on_a_log("unless_back", async |log| {
        let held = log.hold(tagged("guest-1", "seat.taken", "1")).await;
        let waiting = begin_append(&log.store, take_seat("guest-2", "1"));
        log.until_blocked_by(held.pid).await;
        held.roll_back().await;
        waiting.end().await.expect("a free seat");
    })
    .await;
}

/// Of every kind of append, as each takes its locks in a statement of its own.
#[tokio::test]
async fn a_condition_on_a_type_waits_for_every_kind_of_append() {
    on_a_log("unless_type", async |log| {
        for group in [1, 2] {
            // Nothing is connected yet, so that all go to the writer as one group.
            let elsewhere = log.another_store().await;
            let kind = format!("kind.{group}");
            let stream = |n| format!("group.{group}-{n}");
            let mut row = log.session().await;
            run(&mut row, &log.sql(&taken_row(&stream(0)))).await;
            let batches: Vec<_> = (0..group)
                .map(|n| Batch::to(fake::stream(&stream(n))).event(fake::event(&kind).build()))
                .collect();
            let store = elsewhere.clone();
            let appending =
                begin(
                    async move { join_all(batches.into_iter().map(|one| store.append(one))).await },
                );
            log.until_blocked_by(pid(&mut row).await).await;
            let blocker = blocked_by(log, pid(&mut row).await).await;

            let criteria = Criteria::types([Name::new(&kind).expect("a type")]);
            let condition = to(&format!("condition-{group}")).unless(criteria, Position::START);
            let waiting = begin_append(&log.store, condition);
            log.until_blocked_by(blocker).await;
            run(&mut row, "ROLLBACK").await;
            for appended in appending.end().await {
                appended.expect("an append");
            }
            let outcome = waiting.end().await;
            assert!(matches!(outcome, Err(AppendError::Overtaken { .. })), "{outcome:?}");
            elsewhere.close().await;
        }
    })
    .await;
}

async fn blocked_by(log: &Log, pid: i32) -> i32 {
    let sql = format!("SELECT pid FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))");
    let found = numbers(&mut log.session().await, &sql).await;
    i32::try_from(found[0]).expect("a process id")
}

#[tokio::test]
async fn an_append_waits_for_a_condition_under_way_that_it_would_break() {
    on_a_log("unless_first", async |log| {
        let follower = Follower::of_all(&log.store);
        let held = log.hold(take_seat("guest-1", "1")).await;
        let waiting = begin_append(&log.store, tagged("guest-2", "seat.swapped", "1"));
        log.until_blocked_by(held.pid).await;
        let first = held.appended.position;
        held.commit().await;
        assert!(waiting.end().await.expect("an append").position > first);
        follower.assert_whole(log).await;
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_being_claimed_is_waited_for() {
    on_a_log("claim_held", async |log| {
        let held = log.hold(take_name("user-1", "ada")).await;
        let waiting = begin_append(&log.store, take_name("user-2", "ada"));
        log.until_blocked_by(held.pid).await;
        held.roll_back().await;
        waiting.end().await.expect("a free name");

        let release = Claim::release("name", "ada", fake::stream("user-2")).expect("a claim");
        let held = log.hold(to("user-2").claim(release)).await;
        let waiting = begin_append(&log.store, take_name("user-3", "ada"));
        log.until_blocked_by(held.pid).await;
        held.commit().await;
        waiting.end().await.expect("a name that was given up");

        let refused = log.store.append(take_name("user-4", "ada")).await;
        assert!(
            matches!(&refused, Err(AppendError::Claimed { holder, .. }) if holder.name() == "user-3"),
            "{refused:?}"
        );
    })
    .await;
}
