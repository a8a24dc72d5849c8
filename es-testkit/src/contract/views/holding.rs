//! What an owner may do with a part, and until when.

use std::{slice, time::Duration};

use es_core::{Changes, Part, Views};

use super::scene::{FENCED, HOUR, Models, at, every, name, row, whole};

async fn leased<V: Views>(models: &Models<V>) -> Duration {
    models.build("m", 1).await.parts[0].leased
}

/// Waits until some of the lease of an hour is gone, and tells how much is left.
async fn left<V: Views>(models: &Models<V>) -> Duration {
    const SOME: Duration = Duration::from_millis(100);
    loop {
        let left = leased(models).await;
        if left <= HOUR - SOME {
            return left;
        }
        tokio::task::yield_now().await;
    }
}

/// Does this until more than that is left: once, unless the store takes its time.
async fn longer<V: Views>(models: &Models<V>, left: Duration, act: impl AsyncFn()) {
    act().await;
    while leased(models).await <= left {
        tokio::task::yield_now().await;
        act().await;
    }
}

async fn still<V: Views>(
    models: &Models<V>,
    owner: &str,
    held: &[(Part, u64)],
    lease: Duration,
) -> Vec<Part> {
    models.renew(&name(owner), held, lease).await.expect("an answer")
}

/// Those whose owner and epoch are still the same, and no others.
pub async fn renewing_tells_which_parts_are_still_held<V: Views>(models: &Models<V>) {
    let parts = models.begun_in("m", 1, 5).await;
    for part in &parts[..4] {
        models.took(part, "one", HOUR).await;
    }
    models.stole(&parts[1], "two", HOUR).await;
    models.stole(&parts[2], "one", HOUR).await;
    let unknown = [whole("m", 1), whole("m", 2), whole("other", 1)];
    let held: Vec<_> = parts.iter().chain(&unknown).map(|part| (part.clone(), 1)).collect();
    let mut found = still(models, "one", &held, HOUR).await;
    found.sort_unstable();
    assert_eq!(found, [parts[0].clone(), parts[3].clone()]);
    assert_eq!(still(models, "two", &held, HOUR).await, []);
    assert_eq!(still(models, "two", &[(parts[1].clone(), 2)], HOUR).await, [parts[1].clone()]);
    assert_eq!(still(models, "one", &[(parts[4].clone(), 0)], HOUR).await, []);
    assert_eq!(still(models, "one", &[], HOUR).await, []);
}

/// A renewed lease begins anew, under the same epoch; one that is not held does not.
pub async fn a_renewed_lease_begins_anew<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models.took(&part, "one", HOUR).await;
    let before = left(models).await;
    for (owner, epoch) in [("two", 1), ("one", 0), ("one", 2)] {
        assert_eq!(still(models, owner, &[(part.clone(), epoch)], HOUR * 2).await, []);
        assert!(leased(models).await <= before, "{owner}, {epoch}");
    }
    let renew = async || {
        let held = still(models, "one", &[(part.clone(), 1)], HOUR).await;
        assert_eq!(held, slice::from_ref(&part));
    };
    longer(models, before, renew).await;
    assert_eq!(models.checkpoint(&part).await, at(1, 0));
}

/// The new lease counts, longer or shorter; also for the commits that follow.
pub async fn a_renewed_lease_may_be_another<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models.took(&part, "one", HOUR).await;
    for lease in [HOUR * 3, HOUR / 2] {
        still(models, "one", &[(part.clone(), 1)], lease).await;
        models.wrote(&part, Changes::default()).await;
        let found = leased(models).await;
        assert!(found <= lease && found > lease / 2, "{found:?}");
    }
}

/// Who hands a part over holds it until another takes it.
pub async fn a_lease_of_nothing_hands_a_part_over<V: Views>(models: &Models<V>) {
    let parts = models.begun_in("m", 1, 2).await;
    for part in &parts {
        models.took(part, "one", HOUR).await;
    }
    let held = [(parts[0].clone(), 1)];
    assert_eq!(still(models, "one", &held, Duration::ZERO).await, [parts[0].clone()]);
    assert!(leased(models).await.is_zero());
    assert_eq!(models.took(&parts[0], "two", HOUR).await, at(2, 0));
    assert_eq!(still(models, "one", &held, Duration::ZERO).await, []);
    assert_eq!(models.tries(&parts[0], "three", HOUR).await, None);
    assert_eq!(models.tries(&parts[1], "two", HOUR).await, None);
}

/// Who writes is at work: the lease begins anew.
pub async fn a_commit_begins_the_lease_anew<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models.took(&part, "one", HOUR).await;
    let before = left(models).await;
    let commit = async || {
        models.wrote(&part, Changes::rows([row("a", "1")])).await;
    };
    longer(models, before, commit).await;
    assert!(leased(models).await <= HOUR);
    assert_eq!(models.checkpoint(&part).await.epoch, 1);
    assert_eq!(models.build("m", 1).await.parts[0].owner, Some(name("one")));
}

/// Who is fenced lengthens nobody's lease.
pub async fn a_fenced_commit_begins_no_lease_anew<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    let mine = models.took(&part, "one", HOUR).await;
    models.stole(&part, "two", HOUR).await;
    let before = left(models).await;
    let late = models.write(&part, Changes::default(), mine, at(1, 1)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(FENCED));
    assert!(leased(models).await <= before);
}

/// A commit makes no lease where there is none.
pub async fn a_commit_without_a_lease_leaves_the_part_free<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models.wrote(&part, Changes::default()).await;
    assert!(leased(models).await.is_zero());
    models.took(&part, "one", Duration::ZERO).await;
    models.wrote(&part, Changes::default()).await;
    assert!(leased(models).await.is_zero());
    assert_eq!(models.took(&part, "two", HOUR).await, at(2, 2));
}

/// A lease protects nothing: who lost it goes on, and may have it back, until
/// another raises the epoch.
pub async fn an_owner_whose_lease_has_ended_writes_until_another_takes<V: Views>(
    models: &Models<V>,
) {
    let part = models.begun("m", 1).await;
    let mine = models.took(&part, "one", HOUR).await;
    let held = [(part.clone(), mine.epoch)];
    still(models, "one", &held, Duration::ZERO).await;
    let changes = Changes::rows([row("a", "1")]);
    models.write(&part, changes, mine, at(1, 1)).await.expect("a commit");
    assert_eq!(still(models, "one", &held, HOUR).await, slice::from_ref(&part));
    assert_eq!(models.tries(&part, "two", HOUR).await, None);
    still(models, "one", &held, Duration::ZERO).await;
    models.took(&part, "two", HOUR).await;
    let late = models.write(&part, Changes::default(), at(1, 1), at(1, 2)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(FENCED));
}

/// An owner that wakes after a pause writes nothing: no rows, no parked rows, no
/// step of its transaction; although nothing has been written since (B9).
pub async fn an_owner_whose_part_was_taken_writes_nothing<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    let mine = models.took(&part, "one", HOUR).await;
    let (mut tx, seen) = models.begin(&part).await.expect("a transaction");
    assert_eq!(seen, mine);
    if let Some(breaking) = models.breaking {
        breaking(&mut tx);
    }
    let theirs = models.stole(&part, "two", HOUR).await;
    let changes = || Changes::rows([row("a", "late")]).parked([row("x", "late")]);
    let late = models.commit(&part, tx, changes(), mine, at(1, 5)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(FENCED), "before any of its steps");
    let late = models.write(&part, changes(), mine, at(1, 5)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(FENCED));
    assert_eq!(models.find(every("m")).await, []);
    assert_eq!(models.find(every("m").parked()).await, []);
    assert_eq!(models.checkpoint(&part).await, theirs);
    models.write(&part, changes(), theirs, at(2, 5)).await.expect("a commit");
}

/// Nor can it renew what it had, or hand over what is another's.
pub async fn an_owner_that_was_robbed_holds_nothing<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    let mine = models.took(&part, "one", HOUR).await;
    models.stole(&part, "two", HOUR).await;
    for lease in [HOUR, Duration::ZERO] {
        assert_eq!(still(models, "one", &[(part.clone(), mine.epoch)], lease).await, []);
        assert_eq!(still(models, "one", &[(part.clone(), mine.epoch + 1)], lease).await, []);
    }
    assert_eq!(models.tries(&part, "three", HOUR).await, None);
}
