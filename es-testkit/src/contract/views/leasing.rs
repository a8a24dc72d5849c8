//! Who takes a part, and for how long.

use std::{slice, time::Duration};

use es_core::{Checkpoint, Part, PartState, Slices, Taking, Views};

use super::scene::{HOUR, Models, at, name, whole};
use crate::contract::run::together;

async fn state<V: Views>(models: &Models<V>) -> PartState {
    models.build("m", 1).await.parts.remove(0)
}

/// A free part is taken, where it stands, under a new epoch.
pub async fn a_free_part_is_taken_under_a_new_epoch<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models.moved(&part, 6).await;
    assert_eq!(models.took(&part, "one", HOUR).await, at(1, 6));
    assert_eq!(models.checkpoint(&part).await, at(1, 6));
}

/// A part that another has is not taken, and stays as it is.
pub async fn a_part_of_another_is_not_taken<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    let theirs = models.took(&part, "one", HOUR).await;
    for owner in ["two", "One", "one ", "on_", "%"] {
        assert_eq!(models.tries(&part, owner, HOUR).await, None, "{owner:?}");
    }
    assert_eq!(state(models).await.owner, Some(name("one")));
    assert_eq!(models.checkpoint(&part).await, theirs);
}

/// An owner may take its part again: what it has begun before is fenced.
pub async fn an_owner_may_take_its_part_again<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    for epoch in 1..=4 {
        assert_eq!(models.took(&part, "one", HOUR).await, at(epoch, 0));
    }
}

/// Whoever has it, a part can be taken.
pub async fn a_part_can_be_taken_from_whoever_has_it<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models.took(&part, "one", HOUR).await;
    assert_eq!(models.stole(&part, "two", HOUR).await, at(2, 0));
    assert_eq!(state(models).await.owner, Some(name("two")));
    assert_eq!(models.tries(&part, "one", HOUR).await, None);
    assert_eq!(models.stole(&part, "one", HOUR).await, at(3, 0));
}

/// There is nothing to take where there is no such part.
pub async fn a_part_that_is_not_there_cannot_be_taken<V: Views>(models: &Models<V>) {
    let m = models.begun("m", 1).await;
    let parts = [
        whole("other", 1),
        whole("m", 2),
        whole("m", 0),
        Part { slices: Slices::split(2)[0], ..m.clone() },
        Part { slices: Slices { first: 0, last: u16::MAX }, ..m },
    ];
    for part in parts {
        for taking in [Taking::IfFree, Taking::Anyway] {
            let taken = models.take(&part, &name("one"), HOUR, taking).await;
            assert_eq!(taken.expect("an answer"), None, "{part}");
        }
        let held = models.renew(&name("one"), &[(part, 1)], HOUR).await;
        assert_eq!(held.expect("an answer"), []);
    }
    assert_eq!(models.every_build("m").await.len(), 1);
    assert_eq!(state(models).await, PartState::new(Slices::ALL));
}

/// A part tells who has it, and how much of the lease is left.
pub async fn a_part_tells_who_has_it_and_for_how_long<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models.took(&part, "one", HOUR).await;
    let state = state(models).await;
    assert_eq!((state.owner.as_ref(), state.checkpoint), (Some(&name("one")), at(1, 0)));
    assert!(state.leased <= HOUR && state.leased > HOUR / 2, "{state:?}");
    assert!(!state.is_free());
}

/// Each part has an owner of its own.
pub async fn the_parts_of_a_build_have_owners_of_their_own<V: Views>(models: &Models<V>) {
    let parts = models.begun_in("m", 1, 3).await;
    models.took(&parts[0], "one", HOUR).await;
    models.took(&parts[1], "two", HOUR).await;
    let build = models.build("m", 1).await;
    let owners: Vec<_> = build.parts.iter().map(|part| part.owner.clone()).collect();
    assert_eq!(owners, [Some(name("one")), Some(name("two")), None]);
    assert_eq!(models.tries(&parts[0], "two", HOUR).await, None);
    assert_eq!(models.took(&parts[2], "two", HOUR).await, at(1, 0));
}

/// With a lease of nothing the epoch is the owner's, and the part is for the next.
pub async fn a_lease_of_nothing_leaves_the_part_free<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    for (epoch, owner) in (1..).zip(["one", "two", "one", "three"]) {
        assert_eq!(models.took(&part, owner, Duration::ZERO).await, at(epoch, 0));
        let state = state(models).await;
        assert_eq!((state.owner.as_ref(), state.is_free()), (Some(&name(owner)), true));
    }
}

/// Once the lease has ended another may take the part.
pub async fn a_part_is_free_once_its_lease_has_ended<V: Views>(models: &Models<V>) {
    const SHORT: Duration = Duration::from_millis(50);
    let part = models.begun("m", 1).await;
    models.took(&part, "one", SHORT).await;
    let taken = loop {
        let leased = state(models).await.leased;
        assert!(leased <= SHORT, "{leased:?}");
        match models.tries(&part, "two", HOUR).await {
            Some(taken) => break taken,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(taken, at(2, 0));
    assert_eq!(models.tries(&part, "one", SHORT).await, None);
}

/// A lease that ends later than any clock can tell does not end.
pub async fn a_lease_may_be_as_long_as_it_likes<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    for lease in [Duration::from_secs(1 << 40), Duration::from_secs(1 << 62), Duration::MAX] {
        let mine = models.stole(&part, "one", lease).await;
        assert!(state(models).await.leased > HOUR, "{lease:?}");
        assert_eq!(models.tries(&part, "two", HOUR).await, None, "{lease:?}");
        let held = [(part.clone(), mine.epoch)];
        let still = models.renew(&name("one"), &held, lease).await.expect("an answer");
        assert_eq!(still, slice::from_ref(&part));
        models.moved(&part, mine.epoch).await;
        assert!(state(models).await.leased > HOUR, "{lease:?}");
    }
}

async fn all_take<V: Views>(
    models: &Models<V>,
    part: &Part,
    taking: Taking,
) -> Vec<Option<Checkpoint>> {
    let take = |n: usize| {
        let (models, part) = (models.share(), part.clone());
        async move {
            models
                .take(&part, &name(&format!("worker-{n}")), HOUR, taking)
                .await
                .expect("an answer")
        }
    };
    together((0..32).map(take)).await
}

/// Of many who take a free part at once exactly one has it (B9, B13).
pub async fn of_32_who_take_a_part_at_once_exactly_one_has_it<V: Views>(models: &Models<V>) {
    for number in 1..=8 {
        let part = models.begun("m", number).await;
        let taken = all_take(models, &part, Taking::IfFree).await;
        let winners: Vec<_> = (0..).zip(&taken).filter(|(_, one)| one.is_some()).collect();
        let [(winner, Some(checkpoint))] = winners[..] else { panic!("{winners:?}") };
        assert_eq!(*checkpoint, at(1, 0));
        let state = models.build("m", number).await.parts.remove(0);
        assert_eq!(state.owner, Some(name(&format!("worker-{winner}"))));
        assert_eq!(state.checkpoint, at(1, 0));
    }
}

/// Of many who take a part whoever has it, no two have one epoch.
pub async fn of_32_who_take_a_part_anyway_each_has_another_epoch<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    let taken = all_take(models, &part, Taking::Anyway).await;
    let mut epochs: Vec<_> = taken.iter().flatten().map(|one| one.epoch).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=32).collect::<Vec<_>>());
    assert_eq!(models.checkpoint(&part).await, at(32, 0));
}
