//! Bugs of taking and holding.

use std::time::Duration;

use es_core::{Builds, Checkpoint, Name, Part, StoreError, Taking};

use super::{MutantViews, ViewBug};

pub(super) async fn take(
    views: &MutantViews,
    part: &Part,
    owner: &Name,
    lease: Duration,
    taking: Taking,
) -> Result<Option<Checkpoint>, StoreError> {
    let taking = match views.bug {
        Some(ViewBug::LeaseIgnored) => Taking::Anyway,
        Some(ViewBug::LookThenTake) => looked(views, part, taking).await?,
        _ => taking,
    };
    let lease = lasting(views, lease);
    let taken = views.sound.take(part, owner, lease, taking).await?;
    match taken {
        Some(checkpoint) if views.has(ViewBug::TakenKeepsEpoch) => {
            let before = Checkpoint { epoch: checkpoint.epoch - 1, ..checkpoint };
            views.set(part, before).await?;
            Ok(Some(before))
        }
        taken => Ok(taken),
    }
}

/// Finds the part free, and takes it a moment later.
async fn looked(views: &MutantViews, part: &Part, taking: Taking) -> Result<Taking, StoreError> {
    let is_free = views.state(part).await?.is_some_and(|state| state.is_free());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    Ok(if is_free { Taking::Anyway } else { taking })
}

fn lasting(views: &MutantViews, lease: Duration) -> Duration {
    let for_ever = views.has(ViewBug::LeaseForEver) && !lease.is_zero();
    if for_ever { Duration::MAX } else { lease }
}

pub(super) async fn renew(
    views: &MutantViews,
    owner: &Name,
    held: &[(Part, u64)],
    lease: Duration,
) -> Result<Vec<Part>, StoreError> {
    let mut still = Vec::new();
    for (part, epoch) in held {
        let (mut owner, mut epoch, mut lease) = (owner.clone(), *epoch, lease);
        if let Some(state) = views.state(part).await? {
            match views.bug {
                Some(ViewBug::RenewIgnoresEpoch) => epoch = state.checkpoint.epoch,
                Some(ViewBug::RenewIgnoresOwner) => owner = state.owner.unwrap_or(owner),
                Some(ViewBug::HandOverIgnored) if lease.is_zero() => lease = state.leased,
                _ => {}
            }
        }
        still.extend(views.sound.renew(&owner, &[(part.clone(), epoch)], lease).await?);
    }
    Ok(still)
}
