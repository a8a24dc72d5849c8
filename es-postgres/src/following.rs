use std::sync::Arc;

use es_core::{Page, Position, Read, StoreError};
use tokio::sync::watch;

use crate::{
    error::{again, closed},
    reading::Reading,
    store::Shared,
};

/// A follower: reads up to the horizon, waits until it moves, and reads again.
pub(crate) struct Following {
    shared: Arc<Shared>,
    horizon: watch::Receiver<Position>,
    closing: watch::Receiver<bool>,
    failing: watch::Receiver<Option<Arc<StoreError>>>,
    after: Position,
    read: Read,
    reading: Option<Reading>,
    failed: bool,
}

impl Following {
    pub(crate) fn new(shared: Arc<Shared>, read: Read) -> Self {
        Self {
            horizon: shared.horizon.follow(),
            closing: shared.horizon.closing(),
            failing: shared.horizon.failing(),
            after: read.after,
            shared,
            read,
            reading: None,
            failed: false,
        }
    }

    /// The next page; nothing more after an error.
    pub(crate) async fn page(&mut self) -> Option<Result<Page, StoreError>> {
        if self.failed {
            return None;
        }
        let page = self.next().await;
        match &page {
            Some(Ok(page)) => self.after = page.through,
            _ => self.failed = true,
        }
        page
    }

    async fn next(&mut self) -> Option<Result<Page, StoreError>> {
        loop {
            if let Some(reading) = &mut self.reading
                && let Some(page) = reading.page(&self.shared).await
            {
                return Some(page);
            }
            let after = self.after;
            if self.read.up_to.is_some_and(|up_to| after >= up_to) {
                return None;
            }
            let horizon = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closed| *closed) => return Some(Err(closed())),
                Ok(failure) = self.failing.wait_for(Option::is_some) => {
                    return failure.as_deref().map(|error| Err(again(error)));
                }
                horizon = self.horizon.wait_for(|horizon| *horizon > after) => *horizon.ok()?,
            };
            let read = self.read.clone().after(after);
            self.reading = Some(Reading::new(&self.shared.schema, read, Some(horizon)));
        }
    }
}
