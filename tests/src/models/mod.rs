//! Read models of a log of parcels, and programs that keep them until they are killed.

mod journal;
mod mails;
mod parcels;
mod watched;

pub use journal::{Journal, Ledger, Lines};
pub use mails::{Effect, Mailer, Mails, effects};
pub use parcels::{ByRow, ByStream, Moved, batch_of, break_models, moved, stream_of};
pub use watched::{Fault, Watched};

use std::{collections::BTreeSet, path::Path, time::Duration};

use cqrs::{ModelSettings, ProjectionError, Projector, StartAt};
use es_core::{EventStore, Views};

/// So short that what a dead worker kept is taken over soon.
pub const LEASE: Duration = Duration::from_millis(400);
/// Every model.
pub const MODELS: [&str; 5] = ["by-row", "by-stream", "ledger", "lines", "mails"];
/// Events of one transaction: few, so that there are many of them.
const EVENTS: usize = 64;

/// What keeps these models, as every process does.
pub fn projector<V: Views<Tx: Journal>>(
    store: impl EventStore,
    views: V,
    mailer: Mailer,
    models: &[&str],
) -> Projector<V> {
    let parts = |parts| ModelSettings::new().parts(parts);
    let mut projector = Projector::new(store, views).lease(LEASE).batches(EVENTS, Duration::ZERO);
    for model in models {
        projector = match *model {
            "by-row" => projector.view_with::<ByRow>(parts(8)),
            "by-stream" => projector.view_with::<ByStream>(parts(4)),
            "ledger" => projector.projection(Ledger),
            "lines" => projector.projection_with(Lines, parts(4)),
            "mails" => {
                let start = StartAt::Beginning;
                projector.reaction_with(Mails, mailer.clone(), start, parts(4))
            }
            other => panic!("there is no model {other}"),
        };
    }
    projector
}

/// Gives back to each model what is parked of it.
///
/// # Errors
///
/// If somebody else comes between, or an event cannot be taken.
pub async fn retry_all<V: Views>(projector: &Projector<V>) -> Result<(), ProjectionError> {
    for model in MODELS {
        let parked = projector.parked(model).await?;
        let sequences: BTreeSet<_> = parked.into_iter().map(|one| one.sequence).collect();
        for sequence in sequences {
            projector.retry(model, &sequence).await?;
        }
    }
    Ok(())
}

/// Where effects are noted, in the folder of a test.
pub fn mailbox(folder: &Path) -> std::path::PathBuf {
    folder.join("mails")
}
