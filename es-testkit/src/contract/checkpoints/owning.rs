//! Who may move a checkpoint.

use es_core::{Checkpoint, Checkpoints, Name, Position, StoreErrorKind};

use crate::contract::{Site, run::together};

type Kept = Site<dyn Checkpoints>;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn at(epoch: u64, position: u64) -> Checkpoint {
    Checkpoint { epoch, position: Position::new(position) }
}

async fn save(kept: &Kept, one: &str, seen: Checkpoint, next: Checkpoint) -> bool {
    match kept.save(&name(one), seen, next).await {
        Ok(()) => true,
        Err(error) if error.kind() == StoreErrorKind::Fenced => false,
        Err(error) => panic!("a checkpoint is moved, or fenced off: {error}"),
    }
}

async fn load(kept: &Kept, one: &str) -> Checkpoint {
    kept.load(&name(one)).await.expect("a checkpoint")
}

/// A name that was never used stands at the start, without an owner.
pub async fn an_unknown_name_is_at_the_start(kept: &Kept) {
    assert_eq!(load(kept, "mailer").await, Checkpoint::default());
}

/// What was saved is loaded.
pub async fn a_saved_checkpoint_is_loaded(kept: &Kept) {
    assert!(save(kept, "mailer", Checkpoint::default(), at(1, 7)).await);
    assert_eq!(load(kept, "mailer").await, at(1, 7));
}

/// Who has seen what stands there may move it, again and again.
pub async fn an_owner_moves_it_step_by_step(kept: &Kept) {
    let mut seen = Checkpoint::default();
    for position in 1..=20 {
        let next = at(1, position * 10);
        assert!(save(kept, "mailer", seen, next).await);
        seen = next;
    }
    assert_eq!(load(kept, "mailer").await, at(1, 200));
}

/// Who has seen something else may not, and changes nothing (B3).
pub async fn who_has_seen_another_position_is_fenced_off(kept: &Kept) {
    save(kept, "mailer", Checkpoint::default(), at(1, 7)).await;
    assert!(!save(kept, "mailer", at(1, 6), at(1, 9)).await);
    assert!(!save(kept, "mailer", Checkpoint::default(), at(1, 9)).await);
    assert_eq!(load(kept, "mailer").await, at(1, 7));
}

/// Who was overtaken by a new owner may not write any more (B9).
pub async fn an_owner_that_was_overtaken_is_fenced_off(kept: &Kept) {
    save(kept, "mailer", Checkpoint::default(), at(1, 7)).await;
    assert!(save(kept, "mailer", at(1, 7), at(1, 7).taken_over()).await);
    assert!(!save(kept, "mailer", at(1, 7), at(1, 8)).await);
    assert!(save(kept, "mailer", at(2, 7), at(2, 8)).await);
    assert_eq!(load(kept, "mailer").await, at(2, 8));
}

/// The epoch counts even where the position is the same.
pub async fn the_epoch_counts_at_the_same_position(kept: &Kept) {
    save(kept, "mailer", Checkpoint::default(), at(2, 7)).await;
    assert!(!save(kept, "mailer", at(1, 7), at(1, 8)).await);
    assert!(!save(kept, "mailer", at(3, 7), at(3, 8)).await);
}

/// A rebuild sends a checkpoint back on purpose.
pub async fn an_owner_may_send_it_back(kept: &Kept) {
    save(kept, "mailer", Checkpoint::default(), at(1, 90)).await;
    assert!(save(kept, "mailer", at(1, 90), at(2, 0)).await);
    assert_eq!(load(kept, "mailer").await, at(2, 0));
}

/// Saving what stands there is no failure.
pub async fn saving_the_same_again_changes_nothing(kept: &Kept) {
    save(kept, "mailer", Checkpoint::default(), at(1, 7)).await;
    assert!(save(kept, "mailer", at(1, 7), at(1, 7)).await);
    assert_eq!(load(kept, "mailer").await, at(1, 7));
}

/// A name that is at the start can be saved as such.
pub async fn the_start_can_be_saved(kept: &Kept) {
    assert!(save(kept, "mailer", Checkpoint::default(), Checkpoint::default()).await);
    assert!(save(kept, "mailer", Checkpoint::default(), at(1, 0)).await);
}

/// A claim to have seen something of an unknown name is refused.
pub async fn nobody_has_seen_an_unknown_name(kept: &Kept) {
    assert!(!save(kept, "mailer", at(1, 7), at(1, 8)).await);
    assert_eq!(load(kept, "mailer").await, Checkpoint::default());
}

/// Names do not meet, however alike.
pub async fn names_are_apart(kept: &Kept) {
    let names = ["mailer", "Mailer", "mailer ", "mailer%", "m_iler", "caf\u{e9}", "cafe\u{301}"];
    for (n, one) in (1..).zip(names) {
        assert!(save(kept, one, Checkpoint::default(), at(1, n)).await, "{one:?}");
    }
    for (n, one) in (1..).zip(names) {
        assert_eq!(load(kept, one).await, at(1, n), "{one:?}");
    }
}

/// Numbers as large as any store counts.
pub async fn large_numbers_are_kept(kept: &Kept) {
    let large = at(i64::MAX as u64, i64::MAX as u64);
    assert!(save(kept, "mailer", Checkpoint::default(), large).await);
    assert_eq!(load(kept, "mailer").await, large);
}

/// Of many that take over at once exactly one is the owner (B9).
pub async fn of_32_that_take_over_at_once_exactly_one_is_the_owner(kept: &Kept) {
    for round in 0..10 {
        let seen = load(kept, "mailer").await;
        assert_eq!(seen.epoch, round);
        let take = |_| {
            let kept = kept.share();
            async move { kept.save(&name("mailer"), seen, seen.taken_over()).await.is_ok() }
        };
        let owners = together((0..32).map(take)).await;
        assert_eq!(owners.into_iter().filter(|owner| *owner).count(), 1, "owners");
    }
}

/// What one owner wrote while many tried stands there.
pub async fn the_winners_position_stands(kept: &Kept) {
    let take = |n: u64| {
        let kept = kept.share();
        async move {
            let next = at(1, n + 1);
            kept.save(&name("mailer"), Checkpoint::default(), next).await.is_ok().then_some(next)
        }
    };
    let winners: Vec<_> = together((0..32).map(take)).await.into_iter().flatten().collect();
    assert_eq!(winners, [load(kept, "mailer").await]);
}
