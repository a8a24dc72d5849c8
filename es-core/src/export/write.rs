use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::line::{Header, Line, Trailer, VERSION};
use crate::{Pages, StoreError, StoreErrorKind};

/// The events of these pages as the bytes of a file, a chunk for each page: one
/// object of JSON for each line, a header before them, and last their number and
/// a checksum.
///
/// Every byte of every payload comes back, and two exports of one log are equal.
/// What [`read`](crate::EventStore::read) gives is one cut through the log:
/// nothing is missing before its end, whatever is appended meanwhile.
///
/// ```
/// use es_core::{Batch, ContentType, EventStore, EventStoreExt, Import, Name, NewEvent, Read, StreamId, World};
/// use es_core::{chunks, export, memory::MemoryStore, read_export};
/// use futures_util::TryStreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (old, new) = (MemoryStore::new(), MemoryStore::new());
/// let rung = NewEvent::raw(World::real().event_id(), Name::new("bell.rung")?, ContentType::JSON, "{}");
/// old.append(Batch::to(StreamId::new("bell", "north")?).event(rung)).await?;
///
/// let mut file = Vec::new();
/// let mut bytes = export(old.read(Read::all().every_tenant()));
/// while let Some(chunk) = bytes.try_next().await? {
///     file.extend_from_slice(&chunk);
/// }
/// assert_eq!(file.iter().filter(|byte| **byte == b'\n').count(), 3);
///
/// new.import(read_export(chunks(std::io::Cursor::new(file)))).await?;
/// assert_eq!(new.events(Read::all()).await?, old.events(Read::all()).await?);
/// # Ok(())
/// # }
/// ```
pub fn export(pages: Pages) -> BoxStream<'static, Result<Bytes, StoreError>> {
    let writing = Writing { pages, sum: Sha256::new(), events: 0, size: 0, state: State::Header };
    stream::unfold(writing, |mut writing| async move {
        let chunk = writing.chunk().await?;
        if chunk.is_err() {
            writing.state = State::Done;
        }
        Some((chunk, writing))
    })
    .boxed()
}

struct Writing {
    pages: Pages,
    sum: Sha256,
    events: u64,
    /// Bytes of the last chunk: the next one is about as large.
    size: usize,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Header,
    Events,
    Done,
}

impl Writing {
    async fn chunk(&mut self) -> Option<Result<Bytes, StoreError>> {
        match self.state {
            State::Header => {
                self.state = State::Events;
                Some(self.lines([Header { gesta_export: VERSION }]))
            }
            State::Events => match self.pages.next().await {
                Some(Ok(page)) => {
                    self.events += page.events.len() as u64;
                    Some(self.lines(page.events.iter().map(Line::of)))
                }
                Some(Err(error)) => Some(Err(error)),
                None => {
                    self.state = State::Done;
                    let sha256 = format!("{:x}", self.sum.clone().finalize());
                    Some(self.lines([Trailer { events: self.events, sha256 }]))
                }
            },
            State::Done => None,
        }
    }

    fn lines(
        &mut self,
        lines: impl IntoIterator<Item = impl Serialize>,
    ) -> Result<Bytes, StoreError> {
        let mut chunk = Vec::with_capacity(self.size);
        for line in lines {
            serde_json::to_writer(&mut chunk, &line).map_err(|error| {
                let message = format!("an event cannot be written as JSON: {error}");
                StoreError::new(StoreErrorKind::Other, message).because(error)
            })?;
            chunk.push(b'\n');
        }
        self.size = chunk.len();
        self.sum.update(&chunk);
        Ok(chunk.into())
    }
}
