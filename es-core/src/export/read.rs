use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use sha2::{Digest, Sha256};

use super::line::{Header, Line, Trailer, VERSION};
use crate::{Page, Pages, Position, RecordedEvent, StoreError, StoreErrorKind, limits};

/// Longest line: more than the largest payload and its metadata can need.
const LINE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that a file is asked for at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The events of an [`export`](crate::export()), to be imported or copied.
///
/// A line that is not what an export writes ends the pages with
/// [`Corrupt`](StoreErrorKind::Corrupt) and the number of the line; so does a
/// file that was cut off or changed, at its end at the latest. What
/// [`Import`](crate::Import) makes of that is nothing, and a copy keeps what it
/// has read before.
///
/// ```
/// use es_core::{chunks, read_export};
/// use futures_util::{FutureExt, TryStreamExt};
///
/// let cut_off = "{\"gesta_export\":1}\n";
/// let mut pages = read_export(chunks(cut_off.as_bytes()));
/// let refusal = pages.try_next().now_or_never().expect("nothing to wait for").unwrap_err();
/// assert!(refusal.to_string().starts_with("line 2 of the export is damaged"));
/// ```
pub fn read_export(bytes: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Pages {
    let reading = Reading {
        bytes: bytes.boxed(),
        rest: BytesMut::new(),
        line: 0,
        sum: Sha256::new(),
        events: 0,
        state: State::Header,
        through: Position::START,
    };
    stream::unfold(reading, |mut reading| async move {
        if reading.state == State::Done {
            return None;
        }
        match reading.page().await {
            Ok(page) if reading.state == State::Done && page.events.is_empty() => None,
            Ok(page) => Some((Ok(page), reading)),
            Err(error) => {
                reading.state = State::Done;
                Some((Err(error), reading))
            }
        }
    })
    .boxed()
}

/// The bytes of a file, chunk by chunk. It reads as the standard library does:
/// whoever polls it waits for the disk.
///
/// ```
/// use futures_util::StreamExt;
///
/// let pages = es_core::read_export(es_core::chunks(std::io::empty()));
/// # drop(pages.boxed());
/// ```
pub fn chunks(
    mut file: impl io::Read + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::iter(std::iter::from_fn(move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        match file.read(&mut chunk) {
            Ok(0) => None,
            Ok(bytes) => {
                chunk.truncate(bytes);
                Some(Ok(chunk.into()))
            }
            Err(error) => Some(Err(error)),
        }
    }))
}

/// Bytes of lines after which a page ends.
const PAGE_BYTES: usize = limits::BATCH_BYTES;

struct Reading {
    bytes: BoxStream<'static, io::Result<Bytes>>,
    rest: BytesMut,
    line: u64,
    sum: Sha256,
    events: u64,
    state: State,
    through: Position,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Header,
    Events,
    /// The last line has been read; nothing may follow.
    End,
    Done,
}

impl Reading {
    async fn page(&mut self) -> Result<Page, StoreError> {
        let (mut events, mut size) = (Vec::new(), 0);
        let is_full = |events: usize, size| events >= limits::PAGE_EVENTS || size >= PAGE_BYTES;
        while !is_full(events.len(), size) && self.state != State::Done {
            match self.next().await? {
                Some(line) => {
                    size += line.len();
                    events.extend(self.understand(&line)?);
                }
                None if self.state == State::End => self.state = State::Done,
                None => return Err(self.damaged("the file was cut off here")),
            }
        }
        if let Some(last) = events.last() {
            self.through = last.position;
        }
        Ok(Page { events, through: self.through })
    }

    /// The event of the line, if it is one.
    fn understand(&mut self, line: &[u8]) -> Result<Option<RecordedEvent>, StoreError> {
        match self.state {
            State::Header => {
                let header: Header = serde_json::from_slice(line)
                    .map_err(|_| self.damaged("no export of Gesta begins so"))?;
                if header.gesta_export != VERSION {
                    let message = format!(
                        "the export has format {}, this program reads {VERSION}, use a newer one",
                        header.gesta_export
                    );
                    return Err(StoreError::new(StoreErrorKind::Schema, message));
                }
                self.state = State::Events;
            }
            State::Events => match serde_json::from_slice::<Line<'_>>(line) {
                Ok(found) => {
                    let event = found.event().map_err(|why| self.damaged(why))?;
                    self.events += 1;
                    self.note(line);
                    return Ok(Some(event));
                }
                Err(why) => {
                    let trailer = serde_json::from_slice(line).map_err(|_| self.damaged(why))?;
                    return self.end(&trailer).map(|()| None);
                }
            },
            State::End | State::Done => return Err(self.damaged("something follows the last line")),
        }
        self.note(line);
        Ok(None)
    }

    fn end(&mut self, trailer: &Trailer) -> Result<(), StoreError> {
        if trailer.events != self.events {
            let (wanted, found) = (trailer.events, self.events);
            return Err(self.damaged(format!("{wanted} events were exported, {found} are here")));
        }
        if trailer.sha256 != format!("{:x}", self.sum.clone().finalize()) {
            return Err(self.damaged("a line before it is not the one that was exported"));
        }
        self.state = State::End;
        Ok(())
    }

    fn note(&mut self, line: &[u8]) {
        self.sum.update(line);
        self.sum.update(b"\n");
    }

    /// The next line without its line feed; `None` at the end of the file.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut looked_at = 0;
        loop {
            if let Some(at) = self.rest[looked_at..].iter().position(|byte| *byte == b'\n') {
                self.line += 1;
                let mut line = self.rest.split_to(looked_at + at + 1);
                line.truncate(looked_at + at);
                return Ok(Some(line.freeze()));
            }
            looked_at = self.rest.len();
            if looked_at > LINE_BYTES {
                self.line += 1;
                return Err(self.damaged(format!("it is longer than {LINE_BYTES} bytes")));
            }
            match self.bytes.next().await {
                Some(chunk) => self.rest.extend_from_slice(&chunk.map_err(unreadable)?),
                None => {
                    self.line += 1;
                    let rest = std::mem::take(&mut self.rest);
                    return Ok((!rest.is_empty()).then(|| rest.freeze()));
                }
            }
        }
    }

    fn damaged(&self, why: impl ToString) -> StoreError {
        let message = format!(
            "line {} of the export is damaged: {}; export anew",
            self.line,
            why.to_string()
        );
        StoreError::new(StoreErrorKind::Corrupt, message)
    }
}

fn unreadable(error: io::Error) -> StoreError {
    let message = format!("the export cannot be read: {error}");
    StoreError::new(StoreErrorKind::Unavailable, message).because(error)
}
