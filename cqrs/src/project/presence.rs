use std::sync::Arc;

use es_core::{BuildChange, Name, Part, Slices, StoreErrorKind, Taking, Views};

use super::inner::Inner;
use crate::ProjectionError;

/// Most workers that share the models of a projector; more stand by.
pub(crate) const WORKERS: u16 = 64;

/// How many workers keep the same models. Each has a lease of a place of its own, so
/// that one without any part is seen as well.
#[derive(Debug)]
pub(crate) struct Presence {
    places: Name,
    mine: Option<(Part, u64)>,
    workers: usize,
}

impl Presence {
    /// Of those who keep these models, by the same code: others have no share of them.
    pub(crate) fn new(models: &[(Name, u64)]) -> Self {
        let of = |(name, revision): &(Name, u64)| format!("{name} {revision}");
        let mut models: Vec<_> = models.iter().map(of).collect();
        models.sort_unstable();
        let text = models.join("\n");
        let bytes = text.bytes();
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let places = Name::new(format!("gesta.workers.{hash:016x}"));
        Self {
            places: places.unwrap_or(Name::from_static("gesta.workers")),
            mine: None,
            workers: 1,
        }
    }

    /// The place of this worker.
    pub(crate) fn held(&self) -> Option<(Part, u64)> {
        self.mine.clone()
    }

    /// Somebody else has it.
    pub(crate) fn lost(&mut self) {
        self.mine = None;
    }

    /// How many of so many parts are a fair share.
    pub(crate) fn share(&self, parts: usize) -> usize {
        parts.div_ceil(self.workers.max(1))
    }

    /// Takes a place if this worker has none, and counts those who have one.
    pub(crate) async fn appear<V: Views>(
        &mut self,
        inner: &Arc<Inner<V>>,
        owner: &Name,
    ) -> Result<(), ProjectionError> {
        let views = &inner.views;
        let builds = views.builds(std::slice::from_ref(&self.places)).await?;
        let Some(build) = builds.first() else {
            let begin = BuildChange::begin(self.places.clone(), 1).parts(Slices::split(WORKERS));
            return match views.change(begin).await {
                Err(error) if error.kind() == StoreErrorKind::Fenced => Ok(()),
                outcome => Ok(outcome?),
            };
        };
        if self.mine.is_none() {
            for place in build.parts.iter().filter(|place| place.is_free()) {
                let part = build.part(place.slices);
                let taken = views.take(&part, owner, inner.lease, Taking::IfIdle).await?;
                if let Some(checkpoint) = taken {
                    self.mine = Some((part, checkpoint.epoch));
                    break;
                }
            }
        }
        let mine = self.mine.as_ref().map(|(part, _)| part.slices);
        let others = build.parts.iter().filter(|place| Some(place.slices) != mine);
        self.workers = others.filter(|place| !place.is_free()).count() + 1;
        Ok(())
    }
}
