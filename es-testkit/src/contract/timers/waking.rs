//! What is due, when, for whom, and until when.

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{Name, TakenTimer, Tenant, Timer, TimerId, Timers};

use crate::{
    TestClock,
    contract::{Site, run::together},
    fake,
};

type Kept = Site<dyn Timers>;

const OWNER: Name = Name::from_static("kitchen");

fn second(seconds: i64) -> DateTime<Utc> {
    TestClock::START + TimeDelta::seconds(seconds)
}

fn id(name: &str) -> TimerId {
    let name = Name::new(name).expect("a name");
    TimerId { tenant: Tenant::default(), owner: OWNER, name }
}

fn timer(name: &str, seconds: i64) -> Timer {
    Timer { id: id(name), due: second(seconds), payload: format!("wake {name}").into() }
}

async fn set(kept: &Kept, timer: Timer) {
    kept.set(timer).await.expect("a place for a timer");
}

async fn cancel(kept: &Kept, name: &str) {
    kept.cancel(&id(name)).await.expect("a timer that may be there");
}

async fn done(kept: &Kept, taken: &TakenTimer) {
    kept.done(taken).await.expect("a timer that may be there");
}

/// What can be taken at this time for ten seconds.
async fn taken(kept: &Kept, seconds: i64, limit: usize) -> Vec<TakenTimer> {
    let (now, until) = (second(seconds), second(seconds + 10));
    kept.take_due(&OWNER, now, until, limit).await.expect("a look at the timers")
}

/// The same, given back at once.
async fn due(kept: &Kept, seconds: i64, limit: usize) -> Vec<Timer> {
    let now = second(seconds);
    let taken = kept.take_due(&OWNER, now, now, limit).await.expect("a look at the timers");
    taken.into_iter().map(|taken| taken.timer).collect()
}

async fn next(kept: &Kept) -> Option<DateTime<Utc>> {
    kept.next_due(&OWNER).await.expect("a look at the timers")
}

fn names(timers: &[Timer]) -> Vec<&str> {
    timers.iter().map(|timer| timer.id.name.as_str()).collect()
}

/// Without timers nothing is due.
pub async fn without_timers_nothing_is_due(kept: &Kept) {
    assert!(due(kept, 1_000_000, 10).await.is_empty());
    assert_eq!(next(kept).await, None);
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
    let take = async |at| kept.take_due(&OWNER, at, at, 9).await.expect("a look at the timers");
    assert!(take(at(6)).await.is_empty());
    assert_eq!(take(at(7)).await, [TakenTimer { timer: exact, until: at(7) }]);
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

/// A timer that is not done is due again: a crash loses none (D6).
pub async fn a_timer_that_is_not_done_is_due_again(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    for seconds in [5, 15, 25] {
        assert_eq!(taken(kept, seconds, 10).await.len(), 1);
    }
}

/// A cancelled timer is not due any more.
pub async fn a_cancelled_timer_is_not_due(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    set(kept, timer("tea", 2)).await;
    cancel(kept, "egg").await;
    assert_eq!(names(&due(kept, 5, 10).await), ["tea"]);
}

/// Cancelling what is not there is no failure.
pub async fn cancelling_an_unknown_timer_changes_nothing(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    cancel(kept, "tea").await;
    cancel(kept, "tea").await;
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
    cancel(kept, "egg").await;
    set(kept, timer("egg", 3)).await;
    assert!(due(kept, 2, 10).await.is_empty());
    assert_eq!(due(kept, 3, 10).await.len(), 1);
}

/// Tenants do not meet; what is due is due for all of them.
pub async fn tenants_are_apart(kept: &Kept) {
    let theirs =
        Timer { id: TimerId { tenant: fake::tenant("acme"), ..id("egg") }, ..timer("egg", 2) };
    set(kept, timer("egg", 1)).await;
    set(kept, theirs.clone()).await;
    assert_eq!(due(kept, 5, 10).await, [timer("egg", 1), theirs.clone()]);
    cancel(kept, "egg").await;
    assert_eq!(due(kept, 5, 10).await, [theirs]);
}

/// Names do not meet, and tenant and name do not run together.
pub async fn names_are_apart(kept: &Kept) {
    let all = ["a", "A", "a ", "%", "_", "a/b", "caf\u{e9}", "cafe\u{301}"];
    for name in all {
        set(kept, timer(name, 1)).await;
    }
    let joined =
        Timer { id: TimerId { tenant: fake::tenant("default:a"), ..id("b") }, ..timer("b", 1) };
    set(kept, joined).await;
    set(kept, timer("a:b", 1)).await;
    assert_eq!(due(kept, 1, 100).await.len(), all.len() + 2);
}

/// Owners do not meet: none takes, cancels or waits for what is another one's.
pub async fn owners_are_apart(kept: &Kept) {
    let garden = Name::from_static("garden");
    let rain = Timer { id: TimerId { owner: garden.clone(), ..id("egg") }, ..timer("egg", 2) };
    set(kept, timer("egg", 1)).await;
    set(kept, rain.clone()).await;
    assert_eq!(due(kept, 5, 10).await, [timer("egg", 1)]);
    cancel(kept, "egg").await;
    assert_eq!(next(kept).await, None);
    assert_eq!(kept.next_due(&garden).await.expect("a look"), Some(second(2)));
    let found = kept.take_due(&garden, second(2), second(9), 10).await.expect("a look");
    assert_eq!(found, [TakenTimer { timer: rain, until: second(9) }]);
}

/// Nobody else is given what is taken, until its time is over.
pub async fn what_is_taken_is_given_to_nobody_else(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    let egg = TakenTimer { timer: timer("egg", 1), until: second(15) };
    assert_eq!(taken(kept, 5, 10).await, std::slice::from_ref(&egg));
    assert_eq!(next(kept).await, Some(second(15)));
    assert!(taken(kept, 14, 10).await.is_empty());
    assert_eq!(taken(kept, 15, 10).await, [TakenTimer { until: second(25), ..egg }]);
}

/// What is done is not due any more.
pub async fn what_is_done_is_not_due(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    let egg = taken(kept, 5, 10).await.remove(0);
    for _ in 0..2 {
        done(kept, &egg).await;
        assert!(taken(kept, 50, 10).await.is_empty());
        assert_eq!(next(kept).await, None);
    }
}

/// Who is late does not forget what another one has taken.
pub async fn who_is_late_does_not_end_the_turn_of_another(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    let late = taken(kept, 5, 10).await.remove(0);
    let other = taken(kept, 15, 10).await.remove(0);
    done(kept, &late).await;
    assert_eq!(next(kept).await, Some(second(25)));
    done(kept, &other).await;
    assert_eq!(next(kept).await, None);
}

/// What is set anew while it is taken is due at its new time, whether that is done or not.
pub async fn what_is_set_anew_while_it_is_taken_is_due(kept: &Kept) {
    for again in [timer("egg", 3), timer("egg", 1)] {
        set(kept, timer("egg", 1)).await;
        let before = taken(kept, 5, 10).await.remove(0);
        set(kept, again.clone()).await;
        done(kept, &before).await;
        assert_eq!(due(kept, 5, 10).await, [again]);
        cancel(kept, "egg").await;
    }
}

/// What is cancelled while it is taken is not due any more.
pub async fn what_is_cancelled_while_it_is_taken_is_not_due_again(kept: &Kept) {
    set(kept, timer("egg", 1)).await;
    assert_eq!(taken(kept, 5, 10).await.len(), 1);
    cancel(kept, "egg").await;
    assert!(taken(kept, 50, 10).await.is_empty());
}

/// Who waits knows for when.
pub async fn the_next_one_is_the_first_that_is_due(kept: &Kept) {
    for seconds in [30, 10, 20] {
        set(kept, timer(&format!("t{seconds}"), seconds)).await;
    }
    assert_eq!(next(kept).await, Some(second(10)));
    cancel(kept, "t10").await;
    assert_eq!(next(kept).await, Some(second(20)));
}

/// Of many that take at once each timer is given to one.
pub async fn of_16_that_take_at_once_each_timer_is_given_to_one(kept: &Kept) {
    for n in 0..64 {
        set(kept, timer(&n.to_string(), n)).await;
    }
    let take = |_| {
        let kept = kept.share();
        async move {
            let mut mine = Vec::new();
            loop {
                let taken = kept.take_due(&OWNER, second(99), second(109), 3).await;
                let taken = taken.expect("a look at the timers");
                if taken.is_empty() {
                    return mine;
                }
                mine.extend(taken.into_iter().map(|taken| taken.timer.id));
            }
        }
    };
    let mut all = together((0..16).map(take)).await.concat();
    // Who skips what another one has just locked may end early, and nothing is left.
    all.extend(taken(kept, 99, 100).await.into_iter().map(|taken| taken.timer.id));
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!((all.len(), count), (64, 64));
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
