//! Invalidations stand in a stream, which every process reads from where it is: what
//! is told while a process connects anew waits for it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use es_core::{Invalidation, Position, StoreError, StoreErrorKind};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use redis::{
    aio::MultiplexedConnection,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{connection::Connection, error::store_error};

/// How long the server waits for something to tell; and with that how soon a dead
/// connection is noticed.
const WAIT: Duration = Duration::from_secs(1);
/// Invalidations that are read at once.
const READ: usize = 100;
/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    Everything,
    Tags { tags: Vec<String>, position: Position },
}

/// An invalidation as it stands in the stream.
pub(crate) fn message(invalidation: &Invalidation) -> Result<String, StoreError> {
    let message = match invalidation.clone() {
        Invalidation::Everything => Message::Everything,
        Invalidation::Tags { tags, position } => Message::Tags { tags, position },
    };
    let invalid =
        |why: serde_json::Error| StoreError::new(StoreErrorKind::Invalid, why.to_string());
    serde_json::to_string(&message).map_err(invalid)
}

/// What nobody can read may be anything.
fn read(id: &StreamId) -> Invalidation {
    let message = id.get::<String>("invalid");
    match message.and_then(|message| serde_json::from_str(&message).ok()) {
        Some(Message::Tags { tags, position }) => Invalidation::Tags { tags, position },
        Some(Message::Everything) | None => Invalidation::Everything,
    }
}

pub(crate) fn listen(connection: Arc<Connection>, key: String) -> BoxStream<'static, Invalidation> {
    let listener = Listener { connection, key, place: None, heard: VecDeque::new(), lost: 0 };
    stream::unfold(listener, |mut listener| async move {
        let invalidation = listener.next().await;
        Some((invalidation, listener))
    })
    .boxed()
}

struct Listener {
    connection: Arc<Connection>,
    key: String,
    place: Option<Place>,
    heard: VecDeque<Invalidation>,
    /// How many attempts have failed since the last that has not.
    lost: u32,
}

/// Where it is in the stream: behind this id.
struct Place {
    connection: MultiplexedConnection,
    after: String,
}

impl Listener {
    async fn next(&mut self) -> Invalidation {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            if let Err(error) = self.hear().await {
                warn!(%error, "what others invalidate cannot be heard, trying again");
                self.place = None;
                let pause = Duration::from_millis(50 << self.lost.min(8)).min(LONGEST_PAUSE);
                self.lost = self.lost.saturating_add(1);
                self.connection.world.sleep(pause).await;
            }
        }
    }

    async fn hear(&mut self) -> Result<(), StoreError> {
        match &mut self.place {
            Some(place) => self.heard.extend(place.read(&self.key).await?),
            None => {
                let connection = self.connection.patient(WAIT).await?;
                self.place = Some(Place::at_the_end(connection, &self.key).await?);
                // Nobody knows what was told before.
                self.heard.push_back(Invalidation::Everything);
            }
        }
        self.lost = 0;
        Ok(())
    }
}

impl Place {
    async fn at_the_end(
        mut connection: MultiplexedConnection,
        key: &str,
    ) -> Result<Self, StoreError> {
        let mut last = redis::cmd("XREVRANGE");
        last.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
        let last: StreamRangeReply =
            last.query_async(&mut connection).await.map_err(store_error)?;
        let after = last.ids.into_iter().next().map_or_else(|| "0-0".into(), |last| last.id);
        Ok(Self { connection, after })
    }

    /// Waits a while for what comes next.
    async fn read(&mut self, key: &str) -> Result<Vec<Invalidation>, StoreError> {
        let mut next = redis::cmd("XREAD");
        next.arg("COUNT").arg(READ).arg("BLOCK").arg(millis(WAIT));
        next.arg("STREAMS").arg(key).arg(&self.after);
        let next: Option<StreamReadReply> =
            next.query_async(&mut self.connection).await.map_err(store_error)?;
        let ids = next.into_iter().flat_map(|next| next.keys).flat_map(|key| key.ids);
        let ids: Vec<_> = ids.collect();
        let Some(last) = ids.last().map(|last| last.id.clone()) else { return Ok(Vec::new()) };
        // Who is as far behind as that may have come too late for some.
        let missed = ids.len() >= READ && self.has_missed(key).await?;
        self.after = last;
        let mut heard = vec![Invalidation::Everything; usize::from(missed)];
        heard.extend(ids.iter().map(read));
        Ok(heard)
    }

    /// Whether the stream was cut behind its place.
    async fn has_missed(&mut self, key: &str) -> Result<bool, StoreError> {
        let mut first = redis::cmd("XRANGE");
        first.arg(key).arg("-").arg("+").arg("COUNT").arg(1);
        let first: StreamRangeReply =
            first.query_async(&mut self.connection).await.map_err(store_error)?;
        Ok(first.ids.first().is_none_or(|first| order(&first.id) > order(&self.after)))
    }
}

/// An id is a time and a number.
fn order(id: &str) -> (u64, u64) {
    let (time, number) = id.split_once('-').unwrap_or((id, "0"));
    (time.parse().unwrap_or_default(), number.parse().unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
