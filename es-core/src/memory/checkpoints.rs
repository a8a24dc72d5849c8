use std::fmt;

use async_trait::async_trait;
use dashmap::DashMap;

use crate::{Checkpoint, Checkpoints, Name, StoreError, StoreErrorKind};

/// Checkpoints that live as long as the process; see [`Checkpoints`] for an
/// example.
#[derive(Debug, Default)]
pub struct MemoryCheckpoints {
    checkpoints: DashMap<Name, Checkpoint>,
}

impl MemoryCheckpoints {
    /// No checkpoint yet.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Checkpoints for MemoryCheckpoints {
    async fn load(&self, name: &Name) -> Result<Checkpoint, StoreError> {
        Ok(self.checkpoints.get(name).map(|found| *found).unwrap_or_default())
    }

    async fn save(
        &self,
        name: &Name,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let mut found = self.checkpoints.entry(name.clone()).or_default();
        compare_and_set(name, &mut found, seen, next)
    }
}

pub(super) fn compare_and_set(
    name: &impl fmt::Display,
    found: &mut Checkpoint,
    seen: Checkpoint,
    next: Checkpoint,
) -> Result<(), StoreError> {
    if *found != seen {
        return Err(fenced(name, *found));
    }
    *found = next;
    Ok(())
}

fn fenced(name: &impl fmt::Display, found: Checkpoint) -> StoreError {
    let Checkpoint { epoch, position } = found;
    let message =
        format!("{name} was moved to epoch {epoch}, position {position} by another owner");
    StoreError::new(StoreErrorKind::Fenced, message)
}
