//! How far followers may read. One task for each process asks the server, when
//! this process has appended, when another one says so, and now and then; all
//! followers wait for what it finds.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{Direction, Position, Read, Scope, StoreError, StoreErrorKind, Tenant};
use futures_util::future::{Either, select};
use sqlx::{
    ConnectOptions, Row,
    postgres::{PgListener, PgNotification, PgPoolOptions, PgRow},
    query,
};
use tokio::sync::{Notify, watch};

use crate::{
    call::Call,
    connections::{in_time, target},
    error::{damaged, store_error, unsigned},
    metrics::Connected,
    schema::Schema,
    store::Shared,
};

/// The least time between two looks, and between two words to other processes.
const PAUSE: Duration = Duration::from_millis(2);
/// An append that keeps followers waiting for so long is worth a line in the log,
/// and another one now and then.
const LONG: TimeDelta = TimeDelta::seconds(5);
const AGAIN: TimeDelta = TimeDelta::seconds(60);
/// How often it is asked who that is.
const ASKING: TimeDelta = TimeDelta::seconds(1);
/// How much less often to look while no append is under way: who appends says so.
pub(crate) const QUIET: u32 = 4;
/// What other processes are told: of an append, of an invalidation.
const APPENDED: &str = "";
const INVALIDATED: &str = "invalidated";

/// What followers wait for.
#[derive(Debug)]
pub(crate) struct Horizon {
    known: watch::Sender<Position>,
    wake: Notify,
    has_appended: AtomicBool,
    is_closed: watch::Sender<bool>,
    /// Why followers will get nothing more.
    failed: watch::Sender<Option<Arc<StoreError>>>,
}

impl Horizon {
    pub(crate) fn new() -> Self {
        Self {
            known: watch::Sender::new(Position::START),
            wake: Notify::new(),
            has_appended: AtomicBool::new(false),
            is_closed: watch::Sender::new(false),
            failed: watch::Sender::new(None),
        }
    }

    /// This process has appended.
    pub(crate) fn wake(&self) {
        self.has_appended.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Other processes have something to be told of.
    pub(crate) fn tell(&self) {
        self.wake.notify_one();
    }

    /// What ended earlier followers is looked at anew.
    pub(crate) fn follow(&self) -> watch::Receiver<Position> {
        self.failed.send_replace(None);
        let known = self.known.subscribe();
        self.wake.notify_one();
        known
    }

    pub(crate) fn close(&self) {
        self.is_closed.send_replace(true);
    }

    /// Why followers end, once they do.
    pub(crate) fn failing(&self) -> watch::Receiver<Option<Arc<StoreError>>> {
        self.failed.subscribe()
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.is_closed.subscribe()
    }

    fn known(&self) -> Position {
        *self.known.borrow()
    }

    fn advance(&self, position: Position) {
        self.known.send_if_modified(|known| position > mem::replace(known, position.max(*known)));
    }
}

/// What the server says of the end of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// The last event up to which nothing more will come.
    pub(crate) horizon: Position,
    /// The last position that was drawn.
    pub(crate) drawn: Position,
}

/// The statement that asks how far followers may read.
pub(crate) fn sql(schema: &Schema, tenant: Option<&Tenant>) -> Arc<str> {
    let function = match tenant {
        None => "SELECT horizon, drawn FROM {schema}.horizon({store})",
        Some(_) => "SELECT horizon, drawn FROM {schema}.tenant_horizon({store})",
    };
    schema.sql(function).into()
}

/// How far a request may look: a stream and an append are whole in every snapshot; what is
/// read from the whole log has to stop where something may still come.
pub(crate) async fn of(shared: &Shared, read: &Read) -> Result<Option<Position>, StoreError> {
    match read.scope {
        Scope::Stream(_) | Scope::Append(_) => Ok(None),
        // Nobody takes a checkpoint from what is read backwards.
        _ if read.direction == Direction::Backwards => Ok(Some(ask(shared).await?.drawn)),
        _ => Ok(Some(ask(shared).await?.horizon)),
    }
}

pub(crate) async fn ask(shared: &Shared) -> Result<End, StoreError> {
    let before = shared.horizon.known();
    let rows = shared.readers.rows(|| Call::new(Arc::clone(&shared.horizon_sql))).await?;
    end(&rows, before)
}

/// What the server says, asked when the log was known up to `before`. A log that
/// has drawn less is an older copy: what it will append would be taken for known.
fn end(rows: &[PgRow], before: Position) -> Result<End, StoreError> {
    let row = rows.first().ok_or_else(|| damaged("horizon() answers nothing"))?;
    let number = |at: usize| unsigned(row.try_get(at).map_err(store_error)?);
    let (horizon, drawn) = (Position::new(number(0)?), Position::new(number(1)?));
    if drawn < before {
        let message = format!(
            "the log has come to position {drawn} only, but {before} was seen of it: it was \
             restored from an older copy. Halt, or rebuild what was made of it"
        );
        return Err(StoreError::new(StoreErrorKind::Rewound, message));
    }
    Ok(End { horizon, drawn })
}

/// Looks until the store is closed.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let mut closing = shared.horizon.closing();
    let watching = std::pin::pin!(watch(&shared));
    let closed = std::pin::pin!(closing.wait_for(|closed| *closed));
    select(watching, closed).await;
}

async fn watch(shared: &Shared) {
    let world = &shared.options.world;
    let connected = Connected::new(shared.schema.name(), "following");
    let mut pause = Duration::ZERO;
    loop {
        let watched = watch_with_listener(shared).await;
        connected.lost(1);
        shared.words.miss();
        match watched {
            Ok(()) => return,
            Err(error) if error.is_transient() => {
                // Followers wait the longer for it, and lose nothing.
                tracing::warn!(%error, "followers cannot be woken, trying again");
            }
            Err(error) => {
                tracing::error!(%error, "followers end");
                shared.horizon.failed.send_replace(Some(Arc::new(error)));
            }
        }
        pause = (pause * 2).clamp(Duration::from_millis(20), Duration::from_secs(1));
        world.sleep(pause).await;
    }
}

async fn watch_with_listener(shared: &Shared) -> Result<(), StoreError> {
    let options = &shared.options;
    let connecting =
        target(options)?.application_name("gesta followers").disable_statement_logging();
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(connecting);
    let opening = async { PgListener::connect_with(&pool).await.map_err(store_error) };
    let mut listener = in_time(options, opening).await?;
    let channel = shared.schema.channel();
    if !options.is_behind_pooler {
        let listening = async { listener.listen(&channel).await.map_err(store_error) };
        in_time(options, listening).await?;
    }
    // From now on words are heard; what was said before has to be looked for.
    shared.words.hear();
    let mut alarm = Alarm::default();
    loop {
        let mut is_quiet = false;
        if shared.horizon.known.receiver_count() > 0 {
            let before = shared.horizon.known();
            let asking = Call::new(Arc::clone(&shared.horizon_sql)).fetch_all(&mut listener);
            let rows = in_time(options, async { asking.await.map_err(store_error) }).await?;
            let end = end(&rows, before)?;
            shared.horizon.advance(end.horizon);
            shared.horizon.failed.send_if_modified(|failed| failed.take().is_some());
            in_time(options, alarm.look(shared, &mut listener, end)).await?;
            is_quiet = end.horizon == before && alarm.is_silent(end);
        }
        if !options.is_behind_pooler {
            let told = tell_others(shared, &channel, &mut listener);
            in_time(options, async { told.await.map_err(store_error) }).await?;
        }
        options.world.sleep(PAUSE).await;
        let woken = shared.horizon.wake.notified();
        let is_told = !options.is_behind_pooler;
        let poll = if is_quiet && is_told { options.poll * QUIET } else { options.poll };
        let waiting = select(Box::pin(woken), options.world.sleep(poll));
        match is_told {
            true => hear_others(shared, &mut listener, waiting).await.map_err(store_error)?,
            false => drop(waiting.await),
        }
    }
}

/// To say NOTIFY is to keep all others who do from committing, in the whole cluster: so it
/// is never part of an append, and one word stands for all that has gathered meanwhile.
async fn tell_others(
    shared: &Shared,
    channel: &str,
    listener: &mut PgListener,
) -> Result<(), sqlx::Error> {
    let has_appended = shared.horizon.has_appended.swap(false, Ordering::AcqRel);
    let both = [(has_appended, APPENDED), (shared.words.take(), INVALIDATED)];
    let words: Vec<_> =
        both.iter().filter(|(is_owed, _)| *is_owed).map(|(_, word)| *word).collect();
    if words.is_empty() {
        return Ok(());
    }
    let telling = query("SELECT pg_notify($1, word) FROM unnest($2::text[]) AS word");
    telling.bind(channel).bind(words).execute(listener).await.map(drop)
}

/// Returns once somebody has said something, or has waited for long enough.
async fn hear_others(
    shared: &Shared,
    listener: &mut PgListener,
    waiting: impl Future + Unpin,
) -> Result<(), sqlx::Error> {
    let hear = |told: PgNotification| {
        if told.payload() == INVALIDATED {
            shared.words.hear();
        }
    };
    if let Either::Left((told, _)) = select(Box::pin(listener.try_recv()), waiting).await {
        match told? {
            Some(told) => hear(told),
            // It connects anew by itself.
            None => shared.words.miss(),
        }
    }
    // Many say the same.
    while let Some(told) = listener.next_buffered() {
        hear(told);
    }
    Ok(())
}

/// Names the session that keeps followers waiting.
#[derive(Default)]
struct Alarm {
    stands_at: Position,
    /// Since when the horizon stands there, and this session holds it.
    since: Option<DateTime<Utc>>,
    pid: Option<i32>,
    /// When the server was asked who that is, and the last position drawn by then.
    asked: Option<(DateTime<Utc>, Position)>,
    told: Option<DateTime<Utc>>,
}

impl Alarm {
    /// Whether no append is under way: what was drawn is written, or was drawn in vain.
    fn is_silent(&self, End { horizon, drawn }: End) -> bool {
        let nobody = || self.pid.is_none() && self.asked.is_some_and(|(_, then)| then == drawn);
        horizon == drawn || nobody()
    }

    async fn look(
        &mut self,
        shared: &Shared,
        listener: &mut PgListener,
        End { horizon, drawn }: End,
    ) -> Result<(), StoreError> {
        let now = shared.options.world.now();
        if horizon != self.stands_at || horizon == drawn {
            *self = Self { stands_at: horizon, since: Some(now), ..Self::default() };
            shared.metrics.held(Duration::ZERO);
            return Ok(());
        }
        if self.asked.is_some_and(|(asked, _)| now - asked < ASKING) {
            return Ok(());
        }
        self.asked = Some((now, drawn));
        let held = Call::new(Arc::clone(&shared.holder_sql)).fetch_all(listener).await;
        let holder = held.map_err(store_error)?.first().map(Holder::of).transpose();
        self.note(shared, now, holder.map_err(store_error)?);
        Ok(())
    }

    fn note(&mut self, shared: &Shared, now: DateTime<Utc>, holder: Option<Holder>) {
        let pid = holder.as_ref().map(|holder| holder.pid);
        // A position that was drawn in vain keeps nobody waiting.
        if pid.is_none() || self.pid.is_some_and(|before| Some(before) != pid) {
            self.since = Some(now);
            self.told = None;
        }
        self.pid = pid;
        let since = self.since.max(holder.as_ref().and_then(|holder| holder.since));
        let held = since.map_or(TimeDelta::zero(), |since| now - since);
        shared.metrics.held(held.to_std().unwrap_or_default());
        let Some(holder) = holder else { return };
        if held >= LONG && self.told.is_none_or(|told| now - told >= AGAIN) {
            self.told = Some(now);
            tracing::warn!(
                pid = holder.pid,
                application = holder.application,
                state = holder.state,
                seconds = held.num_seconds(),
                "followers wait for an append that is under way"
            );
        }
    }
}

/// Who keeps followers waiting: the session whose append is under way and drew
/// its positions first. Of a session of another role the server tells its
/// `pid` only, unless it grants `pg_read_all_stats`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The process id of the session's backend, for `pg_terminate_backend`.
    pub pid: i32,
    /// What the session calls itself.
    pub application: String,
    /// What it is doing, as `pg_stat_activity` says.
    pub state: String,
    /// When its transaction began.
    pub since: Option<DateTime<Utc>>,
}

pub(crate) const HOLDER: &str = "SELECT a.pid, coalesce(a.application_name, ''), coalesce(a.state, ''), \
     a.xact_start FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid::bigint >> 16 = {store} \
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     ORDER BY (l.classid::bigint & 65535) << 32 | l.objid::bigint LIMIT 1";

impl Holder {
    pub(crate) fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            pid: row.try_get(0)?,
            application: row.try_get(1)?,
            state: row.try_get(2)?,
            since: row.try_get(3)?,
        })
    }
}

/// Whoever holds the horizon now.
pub(crate) async fn holder(shared: &Shared) -> Result<Option<Holder>, StoreError> {
    let rows = shared.readers.rows(|| Call::new(Arc::clone(&shared.holder_sql))).await?;
    rows.first().map(Holder::of).transpose().map_err(store_error)
}
