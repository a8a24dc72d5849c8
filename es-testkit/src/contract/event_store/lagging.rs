//! How far behind a follower is.

use std::time::Duration;

use chrono::TimeDelta;
use es_core::{Criteria, EventStoreExt, Lag, Position, Read, limits};

use super::scene::{Log, category, name, stream, to, with};
use crate::fake;

impl Log {
    async fn behind(&self, read: Read) -> Lag {
        self.lag(read, self.now()).await.expect("a lag")
    }
}

/// Nothing is behind an empty log, nor behind its end.
pub async fn a_follower_that_has_seen_all_has_no_lag(log: &Log) {
    assert_eq!(log.behind(Read::all()).await, Lag::default());
    let last = log.have(&stream("a"), 3).await.position;
    for read in [Read::all(), Read::all().every_tenant(), Read::stream(&stream("a"))] {
        assert_eq!(log.behind(read.after(last)).await, Lag::default());
    }
}

/// Each event that was not seen counts.
pub async fn the_lag_counts_what_was_not_seen(log: &Log) {
    log.have(&stream("a"), 5).await;
    let events = log.everything().await;
    assert_eq!(log.behind(Read::all()).await.events, 5);
    for (seen, event) in (1..).zip(&events) {
        let lag = log.behind(Read::all().after(event.position)).await;
        assert_eq!((lag.events, lag.age.is_some()), (5 - seen, seen < 5));
    }
}

/// What stands between the events of a stream does not count.
pub async fn the_lag_of_a_stream_is_exact(log: &Log) {
    let first = log.have(&stream("a"), 1).await.position;
    for _ in 0..4 {
        log.have(&stream("b"), 3).await;
        log.have(&stream("a"), 2).await;
    }
    let read = Read::stream(&stream("a"));
    assert_eq!(log.behind(read.clone()).await.events, 9);
    assert_eq!(log.behind(read.after(first)).await.events, 8);
}

/// What a follower is not offered keeps it from nothing: of another tenant,
/// another type, another tag.
pub async fn the_lag_counts_only_what_is_followed(log: &Log) {
    let acme = fake::tenant("acme");
    let red = || fake::event("thing.painted").tag("colour", "red").correlated("order-7");
    log.have(&stream("a"), 1).await;
    log.must(with(&stream("a").of(acme.clone()), red())).await;
    log.must(with(&stream("a"), red())).await;
    log.have(&stream("b"), 2).await;
    let last = log.have(&stream("a").of(fake::tenant("beta")), 2).await.position;
    let reads = [
        Read::all().of(acme),
        Read::all().types([name("thing.painted")]),
        Read::all().tag(fake::tag("colour", "red")),
        Read::all().correlated("order-7"),
        category("thing").tag(fake::tag("colour", "red")),
    ];
    for read in reads {
        let lag = log.behind(read.clone()).await;
        assert!(lag.events == 1 && lag.age.is_some(), "{lag:?} of {read:?}");
        let seen = log.find(read.clone()).await[0].position;
        assert!(seen < last);
        assert_eq!(log.behind(read.after(seen)).await, Lag::default());
    }
    assert_eq!(log.behind(category("other")).await, Lag::default());
}

/// What does not match does not count.
pub async fn the_lag_of_criteria_counts_what_matches(log: &Log) {
    log.have(&stream("a"), 3).await;
    log.must(with(&stream("a"), fake::event("seat.taken").tag("seat", "1a"))).await;
    log.have(&stream("a"), 3).await;
    for seat in ["1a", "1b"] {
        let lag = log.behind(Read::matching(Criteria::tag(fake::tag("seat", seat)))).await;
        assert_eq!(lag.events, u64::from(seat == "1a"));
    }
}

/// Whatever stands between, nobody is further behind than it says.
pub async fn the_lag_is_never_less_than_it_is(log: &Log) {
    for n in 0..12 {
        let painted = || fake::event("thing.painted").tag("colour", ["red", "blue"][n % 2]);
        log.must(with(&stream(["a", "b", "c"][n % 3]), painted())).await;
        log.have(&stream("a"), 1 + n % 3).await;
    }
    for event in log.everything().await {
        let reads = [
            Read::all().types([name("thing.painted")]),
            Read::all().tag(fake::tag("colour", "red")),
            Read::stream(&stream("b")),
            Read::stream(&stream("a")).types([name("thing.painted")]),
        ];
        for read in reads.map(|read| read.after(event.position)) {
            let unseen = log.find(read.clone()).await.len() as u64;
            let lag = log.behind(read).await;
            assert!(lag.events >= unseen, "{lag:?}, but {unseen} are unseen");
            assert_eq!((lag.events > 0, lag.age.is_some()), (unseen > 0, unseen > 0));
        }
    }
}

/// What a follower will not come to is not behind it.
pub async fn the_lag_ends_at_an_upper_bound(log: &Log) {
    let bound = log.have(&stream("a"), 2).await.position;
    log.have(&stream("a"), 3).await;
    for read in [Read::all(), Read::stream(&stream("a"))] {
        let read = read.up_to(bound);
        assert_eq!(log.behind(read.clone()).await.events, 2);
        assert_eq!(log.behind(read.after(bound)).await, Lag::default());
    }
}

/// The age is that of the oldest event that waits, whatever has come since.
pub async fn the_age_is_that_of_the_first_unseen_event(log: &Log) {
    let first = log.have(&stream("a"), 1).await.position;
    log.move_clock(TimeDelta::seconds(60));
    log.have(&stream("a"), 1).await;
    log.move_clock(TimeDelta::seconds(30));
    let ages = [(Position::START, 90..150), (first, 30..90)];
    for (after, age) in ages {
        let lag = log.behind(Read::all().after(after)).await;
        assert!(lag.age.is_some_and(|found| age.contains(&found.as_secs())), "{lag:?}");
    }
}

/// A writer whose clock is ahead has written nothing in the future.
pub async fn the_age_is_never_negative(log: &Log) {
    log.move_clock(TimeDelta::hours(1));
    log.have(&stream("a"), 1).await;
    log.move_clock(TimeDelta::hours(-1));
    let lag = log.behind(Read::all()).await;
    assert_eq!((lag.events, lag.age), (1, Some(Duration::ZERO)));
}

/// Far behind, what was not looked at counts, and never less than there is.
pub async fn a_lag_far_behind_is_an_upper_bound(log: &Log) {
    let far = async || {
        for _ in 0..=limits::LAG_POSITIONS / limits::BATCH_EVENTS as u64 {
            log.must(to(&stream("a"), limits::BATCH_EVENTS)).await;
        }
    };
    far().await;
    let rare = log.must(with(&stream("b"), fake::event("thing.rare"))).await.position;
    far().await;
    let last = log.must(with(&stream("b"), fake::event("thing.last"))).await.position;

    let now = log.now();
    let lag = async |read: Read| log.lag(read, now).await.expect("a lag");
    let of = |event_type: &str| Read::all().types([name(event_type)]);
    let (all, of_rare) = (lag(Read::all()).await, lag(of("thing.rare")).await);
    assert_eq!(all.events, log.find(Read::all()).await.len() as u64);
    assert!(of_rare.events >= 1 && of_rare.events < all.events, "{of_rare:?} of {all:?}");
    assert!(of_rare.age.is_some() && of_rare.age <= all.age, "{of_rare:?} of {all:?}");
    assert!(lag(of("thing.last")).await.events >= 1);
    assert_eq!(lag(of("thing.rare").after(rare)).await, Lag::default());
    assert_eq!(lag(of("thing.last").after(last)).await, Lag::default());
}
