//! Reads that never end: what is in the log, and then each new event.

use es_core::{Criteria, EventStore, EventStoreExt, Position, Read, StoreErrorKind, Write, limits};
use futures_util::TryStreamExt;

use super::scene::{
    Follower, Log, assert_in_order, category, name, positions, stream, to, versions, with,
};
use crate::{SeededRandom, contract::run::together, fake};

/// A follower begins with what is there.
pub async fn a_follower_is_offered_what_is_there(log: &Log) {
    let last = log.have(&stream("a"), 5).await.position;
    let mut follower = Follower::new(&log.share(), Read::all());
    assert_eq!(versions(follower.until(last).await), [1, 2, 3, 4, 5]);
}

/// A follower goes on with what comes.
pub async fn a_follower_is_offered_what_comes(log: &Log) {
    let mut follower = Follower::new(&log.share(), Read::all());
    for version in 1..=20 {
        let last = log.have(&stream("a"), 1).await.position;
        assert_eq!(follower.until(last).await.len(), version);
    }
    assert_eq!(follower.events, log.everything().await);
}

/// All may be read of a log that nobody writes.
pub async fn the_horizon_of_a_quiet_log_is_its_end(log: &Log) {
    assert_eq!(log.horizon().await.expect("a horizon"), Position::START);
    for events in [1, 7] {
        let last = log.have(&stream("a"), events).await.position;
        assert_eq!(log.horizon().await.expect("a horizon"), last);
    }
}

/// What was at or before a horizon is all that ever will be.
pub async fn nothing_is_appended_behind_a_horizon(log: &Log) {
    let looks = log.share();
    let looking = async move {
        let mut seen = Vec::new();
        for _ in 0..100 {
            let horizon = looks.horizon().await.expect("a horizon");
            let up_to = looks.events(Read::all().up_to(horizon)).await.expect("events");
            seen.push((horizon, up_to.len()));
        }
        seen
    };
    let writers = (0..4).map(|writer| {
        let store = log.share();
        let writing = async move {
            for _ in 0..25 {
                let one = to(&stream(&format!("w-{writer}")), 1);
                store.append(one).await.expect("an append");
            }
            Vec::new()
        };
        futures_util::FutureExt::boxed(writing)
    });
    let looking = std::iter::once(futures_util::FutureExt::boxed(looking));
    let seen = together(looking.chain(writers)).await.remove(0);
    for (horizon, count) in seen {
        let now = log.events(Read::all().up_to(horizon)).await.expect("events");
        assert_eq!(now.len(), count, "up to {horizon}");
    }
}

/// A follower of an empty log waits for its first event.
pub async fn a_follower_of_an_empty_log_waits_for_the_first_event(log: &Log) {
    let (store, last) = (log.share(), stream("a"));
    let waiting = async move {
        let mut pages = store.tail(Read::all());
        pages.try_next().await.expect("a follower does not fail")
    };
    let store = log.share();
    let writing = async move {
        store.append(to(&last, 1)).await.expect("an append");
        None
    };
    let done = together([futures_util::FutureExt::boxed(waiting), Box::pin(writing)]).await;
    assert_eq!(done[0].as_ref().map(|event| event.version.get()), Some(1));
}

/// A follower that has seen everything wakes up when there is more (B6).
pub async fn a_follower_wakes_up_after_idling(log: &Log) {
    let mut follower = Follower::new(&log.share(), Read::all());
    for round in 1..=10 {
        let store = log.share();
        let append = async move {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            store.append(to(&stream("a"), 1)).await.expect("an append").position
        };
        let follow = async {
            while follower.events.len() < round {
                let next = Position::new(follower.through.get() + 1);
                follower.until(next).await;
            }
        };
        futures_util::future::join(append, follow).await;
    }
    assert_eq!(follower.events, log.everything().await);
}

/// Followers that attach while a writer is at work miss nothing at the
/// hand-over from the past to the present, and see nothing twice (B5).
pub async fn the_hand_over_to_what_comes_loses_and_doubles_nothing(log: &Log) {
    const EVENTS: usize = 2_000;
    let store = log.share();
    let writer = async move {
        for n in 0..EVENTS / 2 {
            let batch = to(&stream(&(n % 7).to_string()), 2);
            store.append(batch).await.expect("an append");
        }
        Vec::new()
    };
    let random = SeededRandom::new(5);
    let follower = |_| {
        let (store, wait) = (log.share(), random.below(EVENTS));
        async move {
            let mut witness = store.tail(Read::all());
            for _ in 0..wait {
                witness.try_next().await.expect("a follower does not fail");
            }
            let mut follower = Follower::new(&store, Read::all());
            while follower.events.len() < EVENTS {
                follower.past(Position::new(follower.through.get() + 1)).await;
            }
            positions(&follower.events)
        }
    };
    let mut tasks = vec![futures_util::FutureExt::boxed(writer)];
    tasks.extend((0..12).map(|n| futures_util::FutureExt::boxed(follower(n))));
    let seen = together(tasks).await;
    let due = positions(&log.everything().await);
    assert_eq!(due.len(), EVENTS);
    assert!(seen[1..].iter().all(|seen| *seen == due), "each follower sees the log");
}

/// Followers from the middle, attached while many writers are at work, see
/// what is after their position: once, and in order (A1, B5).
pub async fn followers_from_the_middle_see_the_rest_of_a_busy_log(log: &Log) {
    const WRITERS: usize = 8;
    const EACH: usize = 60;
    let start = log.have(&stream("start"), 1).await.position;
    let write = |n: usize| {
        let store = log.share();
        async move {
            for _ in 0..EACH {
                store.append(to(&stream(&n.to_string()), 1)).await.expect("an append");
            }
            Vec::new()
        }
    };
    let follow = |_| {
        let store = log.share();
        async move {
            let mut follower = Follower::new(&store, Read::all().after(start));
            while follower.events.len() < WRITERS * EACH {
                follower.past(Position::new(follower.through.get() + 1)).await;
            }
            positions(&follower.events)
        }
    };
    let writers = (0..WRITERS).map(|n| futures_util::FutureExt::boxed(write(n)));
    let followers = (0..6).map(|n| futures_util::FutureExt::boxed(follow(n)));
    let seen = together(writers.chain(followers)).await;
    let all = log.everything().await;
    assert_in_order(&all);
    assert!(seen[WRITERS..].iter().all(|seen| *seen == positions(&all[1..])));
}

/// A follower from a position begins right after it.
pub async fn a_follower_from_the_middle_begins_after_its_position(log: &Log) {
    log.have(&stream("a"), 9).await;
    let all = log.everything().await;
    let mut follower = Follower::new(&log.share(), Read::all().after(all[3].position));
    assert_eq!(follower.until(all[8].position).await, &all[4..]);
}

/// A follower from the head sees only what comes.
pub async fn a_follower_from_the_head_sees_only_what_comes(log: &Log) {
    let head = log.have(&stream("a"), 5).await.position;
    let mut follower = Follower::new(&log.share(), Read::all().after(head));
    let last = log.have(&stream("a"), 2).await.position;
    assert_eq!(versions(follower.until(last).await), [6, 7]);
}

/// Every follower is offered everything.
pub async fn two_followers_are_offered_the_same(log: &Log) {
    let (one, two) = (log.share(), log.share());
    let mut followers = [Follower::new(&one, Read::all()), Follower::new(&two, Read::all())];
    let mut last = Position::START;
    for _ in 0..30 {
        last = log.have(&stream("a"), 2).await.position;
    }
    for follower in &mut followers {
        assert_eq!(versions(follower.until(last).await), (1..=60).collect::<Vec<_>>());
    }
}

/// Follows `read` while assorted events come, and compares.
async fn assert_follows(log: &Log, read: Read) {
    let mut follower = Follower::new(&log.share(), read.clone());
    for n in 0..40 {
        let category = ["thing", "other"][n % 2];
        let event = fake::event(["one", "two", "three"][n % 3])
            .tag("n", &(n % 5).to_string())
            .correlated(["x", "y"][n % 2]);
        log.must(with(&fake::stream(&format!("{category}-{}", n % 4)), event)).await;
    }
    let head = log.head().await.expect("a head");
    let seen = follower.past(head).await.to_vec();
    assert!(!seen.is_empty());
    assert_eq!(seen, log.find(read).await);
}

/// A follower of one stream is offered that one only.
pub async fn a_follower_of_a_stream_is_offered_that_stream(log: &Log) {
    assert_follows(log, Read::stream(&stream("0"))).await;
}

/// A follower of one category is offered that one only.
pub async fn a_follower_of_a_category_is_offered_that_category(log: &Log) {
    assert_follows(log, category("thing")).await;
}

/// A follower of some types is offered those only.
pub async fn a_follower_of_types_is_offered_those_types(log: &Log) {
    assert_follows(log, Read::all().types([name("one"), name("two")])).await;
}

/// A follower of a tag is offered that one only.
pub async fn a_follower_of_a_tag_is_offered_that_tag(log: &Log) {
    assert_follows(log, Read::all().tag(fake::tag("n", "3"))).await;
}

/// A follower of a correlation id is offered that one only.
pub async fn a_follower_of_a_correlation_is_offered_that_correlation(log: &Log) {
    assert_follows(log, Read::all().correlated("x")).await;
}

/// A follower of criteria is offered what matches.
pub async fn a_follower_of_criteria_is_offered_what_matches(log: &Log) {
    let criteria = Criteria::tag(fake::tag("n", "3")).or(Criteria::types([name("two")]));
    assert_follows(log, Read::matching(criteria)).await;
}

/// A follower's checkpoint moves past events that it did not ask for, so that
/// a restart need not look at them again.
pub async fn a_checkpoint_moves_past_events_that_do_not_match(log: &Log) {
    let mut follower = Follower::new(&log.share(), category("never"));
    let mut head = Position::START;
    for _ in 0..5 {
        head = log.have(&stream("a"), 300).await.position;
    }
    assert!(follower.past(head).await.is_empty());
}

/// Who goes on from a checkpoint misses nothing and sees nothing twice.
pub async fn a_follower_goes_on_from_any_of_its_checkpoints(log: &Log) {
    for n in 0..30 {
        let event = fake::event(["one", "two"][n % 2]);
        log.must(with(&stream("a"), event)).await;
    }
    let read = Read::all().types([name("one")]);
    let due = positions(&log.find(read.clone()).await);
    let head = log.head().await.expect("a head");
    for stop in 1..=head.get() {
        let mut first = Follower::new(&log.share(), read.clone());
        let seen = first.past(Position::new(stop)).await.len();
        let mut second = Follower::new(&log.share(), read.clone().after(first.through));
        assert_eq!(positions(second.past(head).await), due[seen..]);
    }
}

/// A follower may be there before its stream, its category and its types.
pub async fn a_follower_may_come_before_what_it_follows(log: &Log) {
    log.have(&fake::stream("early-1"), 3).await;
    let late = fake::stream("late-1");
    let reads = [
        Read::stream(&late),
        category("late"),
        Read::all().types([name("late.event")]),
        Read::all().tag(fake::tag("late", "1")),
    ];
    for read in reads {
        let mut follower = Follower::new(&log.share(), read);
        let head = log.head().await.expect("a head");
        follower.past(head).await;
        let seen = follower.events.len();
        let event = fake::event("late.event").tag("late", "1");
        let last = log.must(with(&late, event)).await.position;
        assert_eq!(follower.until(last).await.len(), seen + 1);
    }
}

/// A follower is not called on for the past.
pub async fn a_follower_backwards_is_refused(log: &Log) {
    let follower = Follower::new(&log.share(), Read::all().backwards());
    assert_eq!(follower.refusal().await, StoreErrorKind::Invalid);
}

/// A follower has no end.
pub async fn a_follower_with_a_limit_is_refused(log: &Log) {
    let follower = Follower::new(&log.share(), Read::all().limit(3));
    assert_eq!(follower.refusal().await, StoreErrorKind::Invalid);
}

/// A follower with an upper bound is offered nothing beyond it.
pub async fn a_follower_with_an_upper_bound_is_offered_nothing_beyond(log: &Log) {
    log.have(&stream("a"), 6).await;
    let end = log.everything().await[2].position;
    let mut pages = log.follow(Read::all().up_to(end));
    let mut seen = Vec::new();
    let head = log.head().await.expect("a head");
    while let Some(page) = pages.try_next().await.unwrap_or_default() {
        seen.extend(page.events);
        if page.through >= end.max(head) || seen.len() >= 3 {
            break;
        }
    }
    assert!(seen.iter().all(|event| event.position <= end), "{seen:?}");
}

/// A follower that reads slowly misses nothing.
pub async fn a_slow_follower_misses_nothing(log: &Log) {
    let mut follower = Follower::new(&log.share(), Read::all());
    let first = log.have(&stream("a"), 1).await.position;
    follower.until(first).await;
    let mut last = first;
    for _ in 0..8 {
        last = log.have(&stream("a"), 500).await.position;
    }
    assert_eq!(versions(follower.until(last).await), (1..=4_001).collect::<Vec<_>>());
}

/// A follower's pages are bounded as those of a read.
pub async fn a_followers_pages_are_bounded(log: &Log) {
    let mut last = Position::START;
    for _ in 0..5 {
        last = log.have(&stream("a"), 500).await.position;
    }
    let mut pages = log.follow(Read::all());
    let mut through = Position::START;
    while through < last {
        tokio::task::yield_now().await;
        let page = pages.try_next().await.expect("a page").expect("a page");
        assert!(page.events.len() <= limits::PAGE_EVENTS);
        through = page.through;
    }
}

/// A follower of one append comes to the end of the log like any other, whether
/// the append is there, was there before, or never comes, and waits there.
pub async fn a_follower_of_an_append_comes_to_the_end_of_the_log(log: &Log) {
    let known = fake::append_id();
    log.must(to(&stream("a"), 2).append_id(known)).await;
    let head = log.have(&stream("b"), 3).await.position;
    for (id, count) in [(known, 2), (fake::append_id(), 0)] {
        let mut pages = log.follow(Read::append(id));
        let (mut through, mut found, mut rounds) = (Position::START, 0, 0);
        while through < head {
            let page = pages.try_next().await.expect("a page").expect("a page");
            (through, found, rounds) = (page.through, found + page.events.len(), rounds + 1);
            assert!(rounds < 10, "the follower stays at {through} of {head}");
        }
        assert_eq!(found, count);
    }
}

/// The checkpoint of a follower never passes the log: what it passes is lost.
pub async fn a_checkpoint_never_passes_the_head(log: &Log) {
    for _ in 0..20 {
        let mut pages = log.follow(category("never"));
        log.have(&stream("a"), 2).await;
        let page = pages.try_next().await.expect("a page").expect("a page");
        assert!(page.through <= log.head().await.expect("a head"));
    }
}

/// A batch comes whole and in order, over all its streams.
pub async fn a_follower_is_offered_a_batch_in_its_order(log: &Log) {
    let mut follower = Follower::new(&log.share(), Read::all());
    let write = |id| Write::new(stream(id)).events(fake::events(3));
    let batch = es_core::Batch::new(["c", "a", "b"].map(write));
    let last = log.must(batch).await.position;
    let seen = follower.until(last).await;
    let streams: Vec<_> = seen.iter().map(|event| event.stream.id()).collect();
    assert_eq!(streams, ["c", "c", "c", "a", "a", "a", "b", "b", "b"]);
}

/// Followers that go away harm nobody.
pub async fn a_follower_that_is_dropped_harms_nobody(log: &Log) {
    let mut stays = Follower::new(&log.share(), Read::all());
    for n in 0..30 {
        let mut goes = Follower::new(&log.share(), Read::all());
        let last = log.have(&stream("a"), 1).await.position;
        if n % 2 == 0 {
            goes.until(last).await;
        }
    }
    let head = log.head().await.expect("a head");
    assert_eq!(stays.until(head).await.len(), 30);
}

/// A refused append wakes nobody to anything.
pub async fn a_follower_is_not_offered_what_was_refused(log: &Log) {
    let mut follower = Follower::new(&log.share(), Read::all());
    log.have(&stream("a"), 1).await;
    for _ in 0..5 {
        log.refused(to(&stream("a"), 3).expect(super::scene::exact(0))).await;
    }
    let last = log.have(&stream("a"), 1).await.position;
    assert_eq!(versions(follower.until(last).await), [1, 2]);
}
