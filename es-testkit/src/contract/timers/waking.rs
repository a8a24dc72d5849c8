//! What is due, when, and until when.

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{Name, Tenant, Timer, Timers};

use crate::{
    TestClock,
    contract::{Site, run::together},
    fake,
};

type Kept = Site<dyn Timers>;

fn second(seconds: i64) -> DateTime<Utc> {
    TestClock::START + TimeDelta::seconds(seconds)
}

fn timer(name: &str, seconds: i64) -> Timer {
    Timer {
        tenant: Tenant::default(),
        name: Name::new(name).expect("a name"),
        due: second(seconds),
        payload: format!("wake {name}").into(),
    }
}

async fn set(kept: &Kept, timer: Timer) {
    kept.set(timer).await.expect("a place for a timer");
}

async fn cancel(kept: &Kept, timer: &Timer) {
    kept.cancel(&timer.tenant, &timer.name).await.expect("a timer that may be there");
}

async fn due(kept: &Kept, seconds: i64, limit: usize) -> Vec<Timer> {
    kept.due(second(seconds), limit).await.expect("a look at the timers")
}

fn names(timers: &[Timer]) -> Vec<&str> {
    timers.iter().map(|timer| timer.name.as_str()).collect()
}

/// Without timers nothing is due.
pub async fn without_timers_nothing_is_due(kept: &Kept) {
    assert!(due(kept, 1_000_000, 10).await.is_empty());
}

/// A timer is not due before its time, is due at its time, and stays due (D6).
pub async fn a_timer_is_due_from_its_time_on(kept: &Kept) {
    set(kept, timer("egg", 240)).await;
    assert!(due(kept, 239, 10).await.is_empty());
    assert_eq!(due(kept, 240, 10).await, [timer("egg", 240)]);
    assert_eq!(due(kept, 10_000, 10).await, [timer("egg", 240)]);
}

/// Time is told to the microsecond.
pub async fn a_timer_is_due_to_the_microsecond(kept: &Kept) {
    let exact = Timer { due: second(5) + TimeDelta::microseconds(7), ..timer("egg", 5) };
    set(kept, exact.clone()).await;
    let at = |micros| second(5) + TimeDelta::microseconds(micros);
    assert!(kept.due(at(6), 9).await.expect("a look").is_empty());
    assert_eq!(kept.due(at(7), 9).await.expect("a look"), [exact]);
}

/// The most overdue comes first.
pub async fn the_most_overdue_comes_first(kept: &Kept) {
    for seconds in [30, 10, 50, 20, 40] {
        set(kept, timer(&format!("t{seconds}"), seconds)).await;
    }
    assert_eq!(names(&due(kept, 45, 10).await), ["t10", "t20", "t30", "t40"]);
}

/// No more than asked for (D7).
pub async fn no_more_are_due_than_the_limit(kept: &Kept) {
    for seconds in 0..30 {
        set(kept, timer(&format!("t{seconds:02}"), seconds)).await;
    }
    assert_eq!(names(&due(kept, 100, 3).await), ["t00", "t01", "t02"]);
    assert!(due(kept, 100, 0).await.is_empty());
    assert_eq!(due(kept, 100, 1_000).await.len(), 30);
}

/// A timer that is not cancelled is due again: a crash loses none (D6).
pub async fn a_timer_stays_until_it_is_cancelled(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    for _ in 0..3 {
        assert_eq!(due(kept, 5, 10).await.len(), 1);
    }
}

/// A cancelled timer is not due any more.
pub async fn a_cancelled_timer_is_not_due(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    set(kept, timer("tea", 2)).await;
    cancel(kept, &timer("egg", 1)).await;
    assert_eq!(names(&due(kept, 5, 10).await), ["tea"]);
}

/// Cancelling what is not there is no failure.
pub async fn cancelling_an_unknown_timer_changes_nothing(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    cancel(kept, &timer("tea", 1)).await;
    cancel(kept, &timer("tea", 1)).await;
    assert_eq!(due(kept, 5, 10).await.len(), 1);
}

/// A timer of the same name takes the place of the other, earlier or later.
pub async fn a_timer_replaces_the_one_of_its_name(kept: &Kept) {
    for seconds in [10, 90, 40] {
        let payload = format!("{seconds}").into();
        set(kept, Timer { payload, ..timer("egg", seconds) }).await;
    }
    assert!(due(kept, 39, 10).await.is_empty());
    let found = due(kept, 100, 10).await;
    assert_eq!((found.len(), &*found[0].payload), (1, b"40".as_slice()));
}

/// A timer may be set again after it was cancelled.
pub async fn a_cancelled_timer_can_be_set_again(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    cancel(kept, &timer("egg", 1)).await;
    set(kept, timer("egg", 3)).await;
    assert!(due(kept, 2, 10).await.is_empty());
    assert_eq!(due(kept, 3, 10).await.len(), 1);
}

/// Tenants do not meet; what is due is due for all of them.
pub async fn tenants_are_apart(kept: &Kept) {
    let theirs = Timer { tenant: fake::tenant("acme"), ..timer("egg", 2) };
    set(kept, timer("egg", 1)).await;
    set(kept, theirs.clone()).await;
    assert_eq!(due(kept, 5, 10).await, [timer("egg", 1), theirs.clone()]);
    cancel(kept, &timer("egg", 1)).await;
    assert_eq!(due(kept, 5, 10).await, [theirs]);
}

/// Names do not meet, and tenant and name do not run together.
pub async fn names_are_apart(kept: &Kept) {
    let all = ["a", "A", "a ", "%", "_", "a/b", "caf\u{e9}", "cafe\u{301}"];
    for name in all {
        set(kept, timer(name, 1)).await;
    }
    let joined = Timer { tenant: fake::tenant("default:a"), ..timer("b", 1) };
    set(kept, joined).await;
    set(kept, timer("a:b", 1)).await;
    assert_eq!(due(kept, 1, 100).await.len(), all.len() + 2);
}

/// Any bytes are a payload.
pub async fn any_payload_round_trips(kept: &Kept) {
    let all: Vec<u8> = (0..=255).collect();
    for payload in [vec![], vec![0], all.clone(), all.repeat(100)] {
        let timer = Timer { payload: payload.into(), ..timer("egg", 1) };
        set(kept, timer.clone()).await;
        assert_eq!(due(kept, 1, 10).await, [timer]);
    }
}

/// A timer may lie in the past, before the epoch, or far ahead.
pub async fn a_timer_may_be_due_at_any_time(kept: &Kept) {
    let ages = [-4_000_000_000, -1, 0, 4_000_000_000];
    for (n, seconds) in ages.iter().enumerate() {
        set(kept, timer(&n.to_string(), *seconds)).await;
    }
    assert_eq!(names(&due(kept, 0, 10).await), ["0", "1", "2"]);
    assert_eq!(due(kept, 5_000_000_000, 10).await.len(), 4);
}

/// Timers that are due at one moment are all there.
pub async fn timers_of_one_moment_are_all_due(kept: &Kept) {
    for n in 0..20 {
        set(kept, timer(&format!("t{n:02}"), 7)).await;
    }
    assert!(due(kept, 6, 100).await.is_empty());
    assert_eq!(due(kept, 7, 100).await.len(), 20);
}

/// Timers that are set at once are all kept.
pub async fn of_64_timers_set_at_once_all_are_kept(kept: &Kept) {
    let set = |n: i64| {
        let kept = kept.share();
        async move { kept.set(timer(&n.to_string(), n)).await.expect("a place") }
    };
    together((0..64).map(set)).await;
    let found = due(kept, 64, 100).await;
    assert_eq!(found.len(), 64);
    assert!(found.is_sorted_by_key(|timer| timer.due));
}
