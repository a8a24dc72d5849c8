use std::time::Duration;

use es_core::{Pages, Position, StoreError, World, limits};
use futures_util::{StreamExt, future::ready, stream::Fuse};
use tokio::sync::mpsc;

use super::batch::PageBatch;

/// Most bytes of payloads in one batch, but for its last page.
const BYTES: usize = 32 * 1024 * 1024;

/// How much is handled in one transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batching {
    /// At most so many events.
    pub(crate) events: usize,
    /// A batch that began with a full page gathers more for so long: under load
    /// larger batches rewrite fewer rows, and without load nobody waits.
    pub(crate) age: Duration,
}

impl Batching {
    fn is_full(self, batch: &PageBatch) -> bool {
        batch.events.len() >= self.events || batch.bytes >= BYTES
    }
}

impl Default for Batching {
    fn default() -> Self {
        Self { events: 16_384, age: Duration::from_millis(200) }
    }
}

/// What a reader has to say. If it says nothing, it has panicked.
pub(crate) enum Gathered {
    /// Some pages.
    Batch(PageBatch),
    /// There is no more.
    End,
    /// It cannot go on.
    Failed(StoreError),
}

/// Reads one batch ahead of the one that is being handled.
pub(crate) async fn gather(
    mut pages: Fuse<Pages>,
    head: Position,
    batching: Batching,
    ahead: mpsc::Sender<Gathered>,
    world: World,
) {
    loop {
        let batch = tokio::select! {
            batch = next_batch(&mut pages, head, batching, &world) => batch,
            () = ahead.closed() => return,
        };
        let gathered = match batch {
            Ok(Some(batch)) => Gathered::Batch(batch),
            Ok(None) => Gathered::End,
            Err(error) => Gathered::Failed(error),
        };
        let is_last = !matches!(gathered, Gathered::Batch(_));
        if ahead.send(gathered).await.is_err() || is_last {
            return;
        }
    }
}

/// The next page, with more of them until the batch is full: those that must
/// come before `head` is reached, and under load those of the next moment.
async fn next_batch(
    pages: &mut Fuse<Pages>,
    head: Position,
    batching: Batching,
    world: &World,
) -> Result<Option<PageBatch>, StoreError> {
    let Some(page) = pages.next().await else { return Ok(None) };
    let mut batch = PageBatch::default();
    let under_load = page.as_ref().is_ok_and(|page| page.events.len() >= limits::PAGE_EVENTS);
    batch.add(page?);
    while !batching.is_full(&batch) && batch.through < head {
        let Some(page) = pages.next().await else { return Ok(Some(batch)) };
        batch.add(page?);
    }
    let mut moment = if under_load { world.sleep(batching.age) } else { Box::pin(ready(())) };
    while !batching.is_full(&batch) {
        tokio::select! {
            biased;
            page = pages.next() => match page {
                Some(page) => batch.add(page?),
                None => break,
            },
            () = &mut moment => break,
        }
    }
    Ok(Some(batch))
}
