//! What is no longer to be found in the cache, for those who listen. It stands in a table,
//! under numbers that follow each other, and every process reads from where it is: when it
//! is told that there is something, and now and then. So it makes no difference how much
//! there is to tell, and whether anybody could be told: behind a pooler nobody can.
//!
//! Words go through the connection on which followers are woken, one for each process, as
//! [`horizon`](crate::horizon) sends and hears them.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use es_core::{Invalidation, Position, StoreError, StoreErrorKind};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use sqlx::{Row, postgres::PgRow};
use tokio::sync::watch;

use crate::{
    call::Call,
    error::{damaged, store_error},
    horizon::QUIET,
    store::Shared,
};

/// Invalidations that wait for processes that are slow to hear of them.
const KEPT: i64 = 1_000;
/// The longest pause between two attempts to listen.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the task with the connection says to those who listen, and they to it.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// How often the connection was lost, and with it what was said meanwhile.
    missed: watch::Sender<u64>,
    is_owed: AtomicBool,
}

impl Words {
    /// There may be something to read.
    pub(crate) fn hear(&self) {
        self.missed.send_modify(|_| {});
    }

    /// The connection was lost.
    pub(crate) fn miss(&self) {
        self.missed.send_modify(|missed| *missed += 1);
    }

    /// Whether there is a word for the others, which the caller then says.
    pub(crate) fn take(&self) -> bool {
        self.is_owed.swap(false, Ordering::AcqRel)
    }
}

pub(crate) async fn invalidate(
    shared: &Shared,
    invalidation: &Invalidation,
) -> Result<(), StoreError> {
    match invalidation {
        Invalidation::Everything => note(shared, None, Position::START).await?,
        Invalidation::Tags { tags, .. } if tags.is_empty() => return Ok(()),
        Invalidation::Tags { tags, position } => note(shared, Some(tags), *position).await?,
    };
    shared.words.is_owed.store(true, Ordering::Release);
    shared.words.hear();
    shared.horizon.tell();
    Ok(())
}

/// The number under which it stands.
async fn note(
    shared: &Shared,
    tags: Option<&[String]>,
    position: Position,
) -> Result<i64, StoreError> {
    const INVALIDATE: &str = "SELECT {schema}.invalidate($1, $2, $3)";
    let tags = tags.map(|tags| tags.iter().map(|tag| tag.clone().into_bytes()).collect::<Vec<_>>());
    let noting = shared.readers.rows(|| {
        let call = Call::new(shared.schema.sql(INVALIDATE)).bind(tags.clone());
        call.bind(position.get().cast_signed()).bind(KEPT)
    });
    let rows = noting.await?;
    let row = rows.first().ok_or_else(|| damaged("invalidate() answers nothing"))?;
    row.try_get(0).map_err(store_error)
}

/// Until the store is closed.
pub(crate) fn listen(shared: &Arc<Shared>) -> BoxStream<'static, Invalidation> {
    let words = shared.words.missed.subscribe();
    let mut closing = shared.horizon.closing();
    let listener = Listener {
        shared: Arc::clone(shared),
        words,
        place: None,
        heard: VecDeque::new(),
        failed: 0,
    };
    let heard = stream::unfold(listener, |mut listener| async move {
        let invalidation = listener.next().await?;
        Some((invalidation, listener))
    });
    let closed = async move { drop(closing.wait_for(|closed| *closed).await) };
    heard.take_until(closed).boxed()
}

struct Listener {
    shared: Arc<Shared>,
    words: watch::Receiver<u64>,
    place: Option<Place>,
    heard: VecDeque<Invalidation>,
    /// How many attempts have failed since the last that has not.
    failed: u32,
}

/// Where it is: at this number, with so many words missed before.
#[derive(Clone, Copy)]
struct Place {
    number: i64,
    missed: u64,
}

impl Listener {
    async fn next(&mut self) -> Option<Invalidation> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Some(heard);
            }
            match self.hear().await {
                Ok(()) => self.failed = 0,
                Err(error) if error.kind() == StoreErrorKind::Closed => return None,
                Err(error) => {
                    tracing::warn!(%error, "what others invalidate cannot be heard, trying again");
                    let pause = Duration::from_millis(50 << self.failed.min(8)).min(LONGEST_PAUSE);
                    self.failed = self.failed.saturating_add(1);
                    self.shared.options.world.sleep(pause).await;
                }
            }
        }
    }

    async fn hear(&mut self) -> Result<(), StoreError> {
        // Whatever is said from here on is worth another look.
        let missed = *self.words.borrow_and_update();
        if let Some(place) = self.place.take().filter(|place| place.missed == missed) {
            let mut found = read_from(&self.shared, place.number).await?;
            let number = found.back().map_or(place.number, |(number, _)| *number);
            // Else it was cut off, or a crash has emptied the table.
            if found.pop_front().is_some_and(|(first, _)| first == place.number) {
                self.place = Some(Place { number, ..place });
                if found.is_empty() {
                    self.wait().await;
                }
                self.heard.extend(found.into_iter().filter_map(|(_, invalidation)| invalidation));
                return Ok(());
            }
        }
        // Nobody knows what was told before. From here on nothing was lost as long as this
        // one is there, an invalidation of nothing.
        let number = note(&self.shared, Some(&[]), Position::START).await?;
        self.place = Some(Place { number, missed });
        self.heard.push_back(Invalidation::Everything);
        Ok(())
    }

    async fn wait(&mut self) {
        let options = &self.shared.options;
        // Whoever has invalidated may have died before it could say so.
        let poll = if options.is_behind_pooler { options.poll } else { options.poll * QUIET };
        tokio::select! {
            _ = self.words.changed() => {}
            () = options.world.sleep(poll) => {}
        }
    }
}

type Numbered = (i64, Option<Invalidation>);

/// All from this number on: no more than are kept.
async fn read_from(shared: &Shared, number: i64) -> Result<VecDeque<Numbered>, StoreError> {
    const READ: &str = "SELECT number, tags, position FROM {schema}.invalidations \
         WHERE number >= $1 ORDER BY number";
    let rows = shared.readers.rows(|| Call::new(shared.schema.sql(READ)).bind(number)).await?;
    rows.iter().map(numbered).collect()
}

/// Nobody is told of an invalidation of nothing.
fn numbered(row: &PgRow) -> Result<Numbered, StoreError> {
    let number = row.try_get(0).map_err(store_error)?;
    let tags: Option<Vec<Vec<u8>>> = row.try_get(1).map_err(store_error)?;
    let Some(tags) = tags else { return Ok((number, Some(Invalidation::Everything))) };
    let position: i64 = row.try_get(2).map_err(store_error)?;
    let position = Position::new(position.cast_unsigned());
    let tags = tags.into_iter().map(String::from_utf8).collect::<Result<Vec<_>, _>>();
    let tags = Some(tags.map_err(damaged)?).filter(|tags| !tags.is_empty());
    Ok((number, tags.map(|tags| Invalidation::Tags { tags, position })))
}
