//! What is found, and for how long.

use std::time::Duration;

use bytes::Bytes;
use es_core::{CachePlace, FoundAnswer, LookedUp, Position, SharedCache, World};

use crate::contract::Site;

pub(super) type Cache = Site<dyn SharedCache>;

const TTL: Duration = Duration::from_secs(300);

pub(super) fn place(key: &str, tags: &[&str]) -> CachePlace {
    CachePlace::new(key, TTL).tags(tags.iter().map(ToString::to_string))
}

pub(super) async fn look(cache: &Cache, place: &CachePlace) -> LookedUp {
    cache.get(place).await.expect("a look into the cache")
}

pub(super) async fn found(cache: &Cache, place: &CachePlace) -> Option<Bytes> {
    look(cache, place).await.found.map(|found| found.value)
}

pub(super) async fn put(cache: &Cache, place: &CachePlace, as_of: u64, value: &str) {
    let stamp = look(cache, place).await.stamp;
    let (as_of, value) = (Position::new(as_of), Bytes::copy_from_slice(value.as_bytes()));
    cache.put(place, &stamp, as_of, value).await.expect("room in the cache");
}

/// Nothing is found where nothing was put.
pub async fn nothing_is_found_where_nothing_was_put(cache: &Cache) {
    assert_eq!(found(cache, &place("a", &["t"])).await, None);
}

/// What was put is found, with its position.
pub async fn what_was_put_is_found(cache: &Cache) {
    let place = place("a", &["t", "u"]);
    put(cache, &place, u64::MAX, "7").await;
    let FoundAnswer { as_of, value, .. } = look(cache, &place).await.found.expect("an answer");
    assert_eq!((as_of, value), (Position::new(u64::MAX), Bytes::from("7")));
}

/// Any bytes are a value.
pub async fn any_value_round_trips(cache: &Cache) {
    let all: Vec<u8> = (0..=255).collect();
    for (n, value) in (1..).zip([vec![], vec![b'\n', 0, b'\n'], all.clone(), all.repeat(5_000)]) {
        let place = place("a", &["t"]);
        let stamp = look(cache, &place).await.stamp;
        let value = Bytes::from(value);
        cache.put(&place, &stamp, Position::new(n), value.clone()).await.expect("room");
        assert_eq!(found(cache, &place).await, Some(value));
    }
}

/// A later answer takes the place of an earlier one.
pub async fn a_later_answer_takes_the_place_of_an_earlier_one(cache: &Cache) {
    let place = place("a", &["t"]);
    put(cache, &place, 9, "9").await;
    put(cache, &place, 10, "10").await;
    assert_eq!(found(cache, &place).await, Some("10".into()));
    put(cache, &place, 10, "ten").await;
    assert_eq!(found(cache, &place).await, Some("ten".into()));
}

/// A process that lags does not put an older answer over a younger one.
pub async fn an_earlier_answer_does_not_take_the_place_of_a_later_one(cache: &Cache) {
    let place = place("a", &["t"]);
    put(cache, &place, 10, "10").await;
    put(cache, &place, 9, "9").await;
    assert_eq!(found(cache, &place).await, Some("10".into()));
}

/// Keys are apart, however they are written.
pub async fn keys_are_apart(cache: &Cache) {
    let long = "a".repeat(20_000);
    let keys = ["a", "A", "a ", "a*", "a\u{1}b", "a:b", "{a}", "caf\u{e9}", "cafe\u{301}", ""];
    let keys = keys.into_iter().chain(["a\0b", "a\0", "\0", &long, &long[1..]]);
    for key in keys.clone() {
        put(cache, &place(key, &["t"]), 1, key).await;
    }
    for key in keys {
        let value = Bytes::copy_from_slice(key.as_bytes());
        assert_eq!(found(cache, &place(key, &["t"])).await, Some(value), "{key:.20?}");
    }
}

/// An answer is found for its time, and then no more, by the clock of the cache.
pub async fn an_answer_is_found_for_its_time_and_no_longer(cache: &Cache) {
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(300));
    let one = CachePlace::new("short", short).tag("t");
    let other = CachePlace::new("long", long).tag("t");
    put(cache, &one, 1, "1").await;
    put(cache, &other, 1, "1").await;
    cache.move_clock(chrono::TimeDelta::milliseconds(200));
    // A cache that has a clock of its own takes its time.
    World::real().sleep(short).await;
    assert_eq!(found(cache, &one).await, None);
    assert_eq!(found(cache, &other).await, Some("1".into()));
}

/// Whoever finds an answer is told how long it is good.
pub async fn an_answer_says_how_long_it_is_found(cache: &Cache) {
    let place = place("a", &["t"]);
    put(cache, &place, 1, "1").await;
    let left = look(cache, &place).await.found.expect("an answer").left;
    assert!(left <= TTL && left > TTL - Duration::from_secs(100), "{left:?}");
}

/// An answer that changes with nothing is found.
pub async fn an_answer_without_tags_is_found(cache: &Cache) {
    put(cache, &place("a", &[]), 1, "1").await;
    assert_eq!(found(cache, &place("a", &[])).await, Some("1".into()));
}
