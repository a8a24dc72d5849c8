use std::{sync::Arc, time::Duration};

use es_core::{CachePlace, CacheStamp, Position};

use super::{caching::Payload, entry::Key};
use crate::queries::shared::Shared;

/// Stands between the parts of a key; no name has it.
const BETWEEN: char = '\u{1}';

/// How one answer is shared with other processes.
pub(super) struct Sharing<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) payload: Payload<T>,
    pub(super) place: CachePlace,
}

/// An answer that another process has made.
pub(super) struct Found<T> {
    pub(super) answer: Arc<T>,
    pub(super) as_of: Position,
    pub(super) left: Duration,
}

impl<T> Sharing<T> {
    /// What is there, and the stamp under which another answer may be put; nothing
    /// if the shared cache is not to be had. An answer that cannot be read is none:
    /// another version of the program has written it.
    pub(super) async fn look_up(&self) -> Option<(CacheStamp, Option<Found<T>>)> {
        let looked = self.shared.get(&self.place).await?;
        let found = looked.found.and_then(|found| {
            let answer = Arc::new((self.payload.decode)(&found.value)?);
            Some(Found { answer, as_of: found.as_of, left: found.left })
        });
        Some((looked.stamp, found))
    }

    pub(super) async fn put(&self, stamp: &CacheStamp, as_of: Position, answer: &T) {
        if let Some(value) = (self.payload.encode)(answer) {
            self.shared.put(&self.place, stamp, as_of, value).await;
        }
    }
}

/// Queries of other types, and other tenants, have keys of their own.
pub(super) fn place_key(query: &str, (tenant, key): &Key) -> String {
    format!("{query}{BETWEEN}{tenant}{BETWEEN}{key}")
}
