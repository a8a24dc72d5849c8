//! Connections that are lent out. One comes back only from whoever has finished
//! with it: a future that is dropped half-way takes its connection along, so
//! that none with an open transaction is ever lent again (launchbadge/sqlx
//! #4385), and the server rolls back what was open.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use es_core::{StoreError, StoreErrorKind};
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use sqlx::{
    ConnectOptions, Executor, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    PostgresOptions,
    call::Call,
    error::{closed, is_answer, store_error},
    metrics::{Connected, InUse},
    wall::setting,
};

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Reading,
    Writing,
    /// Whatever a projection does.
    Projecting,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Writing => "writing",
            Self::Projecting => "projecting",
        }
    }
}

/// All that we look for has an index, which a planner without statistics does not
/// take for worth it. (To forbid sorting too would make all plans that have to
/// sort look alike.)
const SEARCHING: [(&str, &str); 4] = [
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
];

/// The longest that a server can be told to wait, in milliseconds.
const LONGEST_WAIT: u128 = i32::MAX as u128;

/// What a projection does may take its time. But nobody waits for the answer any more
/// after its patience, and a session that waits for a lock does not see that.
fn lock_timeout(patience: Duration) -> (&'static str, String) {
    ("lock_timeout", format!("{}ms", patience.as_millis().clamp(1, LONGEST_WAIT)))
}

/// A projection that stands still in the middle of a transaction has locked its part, and
/// keeps everybody from taking it over: the server ends it, sooner than a lease ends.
const AWAKE: (&str, &str) = ("idle_in_transaction_session_timeout", "5s");

/// Where to, and for whom.
pub(crate) fn target(options: &PostgresOptions) -> Result<PgConnectOptions, StoreError> {
    let to: PgConnectOptions = options.url.parse().map_err(store_error)?;
    // Which pgbouncer refuses unless it is told to ignore it. Since PostgreSQL 12 the server
    // says floats exactly by itself.
    let to = to.extra_float_digits(None);
    Ok(match &options.tenant {
        Some(tenant) => to.options(setting(tenant)),
        None => to,
    })
}

/// Opens one connection.
pub(crate) async fn connect(
    options: &PostgresOptions,
    purpose: Purpose,
) -> Result<PgConnection, StoreError> {
    let mut to = target(options)?;
    if to.get_application_name().is_none() {
        to = to.application_name("gesta");
    }
    if !options.is_behind_pooler && purpose != Purpose::Projecting {
        to = to.options(SEARCHING);
    }
    if !options.is_behind_pooler && purpose == Purpose::Writing {
        // Sooner than we give up: who is not answered does not know what became of it.
        let busy = options.busy_timeout.min(options.patience / 2);
        to = to.options([lock_timeout(busy)]);
    }
    if !options.is_behind_pooler && purpose == Purpose::Projecting {
        to = to.options([AWAKE]).options([lock_timeout(options.patience)]);
    }
    to.disable_statement_logging().connect().await.map_err(store_error)
}

/// Gives up on a server that does not answer.
pub(crate) async fn in_time<T>(
    options: &PostgresOptions,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let PostgresOptions { world, patience, .. } = options;
    let answer = std::pin::pin!(answer);
    match select(answer, world.sleep(*patience)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => {
            let message = format!("the server has not answered for {patience:?}");
            Err(StoreError::new(StoreErrorKind::Unavailable, message))
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Connections {
    inner: Arc<Inner>,
    count: usize,
}

#[derive(Debug)]
struct Inner {
    options: PostgresOptions,
    purpose: Purpose,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
    metrics: Connected,
}

impl Connections {
    pub(crate) fn new(options: &PostgresOptions, purpose: Purpose, count: usize) -> Self {
        let inner = Inner {
            options: options.clone(),
            purpose,
            permits: Arc::new(Semaphore::new(count)),
            idle: Mutex::default(),
            metrics: Connected::new(&options.schema, purpose.name()),
        };
        Self { inner: Arc::new(inner), count }
    }

    /// The connection that was used last, or a new one.
    pub(crate) async fn lend(&self) -> Result<Lent, StoreError> {
        let inner = &self.inner;
        let permit = Arc::clone(&inner.permits).acquire_owned();
        let opening = async {
            let permit = permit.await.map_err(|_| closed())?;
            let idle = inner.idle.lock().pop();
            let is_new = idle.is_none();
            let connection = match idle {
                Some(connection) => connection,
                None => connect(&inner.options, inner.purpose).await?,
            };
            Ok(self.lent(connection, is_new, permit))
        };
        self.in_time(opening).await
    }

    /// An open connection, if one is idle.
    pub(crate) fn lend_idle(&self) -> Option<Lent> {
        let permit = Arc::clone(&self.inner.permits).try_acquire_owned().ok()?;
        let connection = self.inner.idle.lock().pop()?;
        Some(self.lent(connection, false, permit))
    }

    fn lent(&self, connection: PgConnection, is_new: bool, permit: OwnedSemaphorePermit) -> Lent {
        let in_use = self.inner.metrics.in_use();
        let connections = self.clone();
        Lent { connection, is_new, connections, _permit: permit, in_use }
    }

    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        in_time(&self.inner.options, answer).await
    }

    /// The rows of a statement, which is tried once more with a new connection if
    /// the server has dropped the old one meanwhile: only for what may be done
    /// twice.
    pub(crate) async fn rows(
        &self,
        statement: impl Fn() -> Call + Send,
    ) -> Result<Vec<PgRow>, StoreError> {
        loop {
            let mut lent = self.lend().await?;
            let answer = async { Ok(statement().fetch_all(&mut *lent).await) };
            match self.in_time(answer).await? {
                Ok(rows) => {
                    lent.give_back();
                    return Ok(rows);
                }
                Err(error) => {
                    if let Some(error) = lent.failed(error) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// As [`in_time`](Self::in_time), for what writes: without an answer nobody
    /// knows whether it has.
    pub(crate) async fn written_in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = async { Ok(answer.await) };
        self.in_time(answer).await.unwrap_or_else(|late| {
            let message = format!("whether it has written is not known: {late}");
            Err(StoreError::new(StoreErrorKind::Unknown, message))
        })
    }

    /// A connection with an open transaction.
    pub(crate) async fn begin(&self) -> Result<Lent, StoreError> {
        loop {
            let mut lent = self.lend().await?;
            let begin = async { Ok(lent.execute("BEGIN").await) };
            match self.in_time(begin).await? {
                Ok(_) => return Ok(lent),
                Err(error) => {
                    if let Some(error) = lent.failed(error) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Returns once nobody has one of them, and nobody gets one any more.
    pub(crate) async fn all_back(&self) {
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        let all = self.inner.permits.acquire_many(count).await;
        self.inner.permits.close();
        drop(all);
    }

    pub(crate) fn close(&self) {
        self.inner.permits.close();
        self.inner.idle.lock().clear();
    }
}

/// A connection on loan. Dropped without [`give_back`](Self::give_back) it is
/// closed.
#[derive(Debug)]
pub(crate) struct Lent {
    connection: PgConnection,
    is_new: bool,
    connections: Connections,
    _permit: OwnedSemaphorePermit,
    in_use: InUse,
}

impl Lent {
    /// What a failure means; nothing, if the connection had stood idle while the
    /// server went away, with all others that did: then a new one may do better.
    pub(crate) fn failed(self, error: sqlx::Error) -> Option<StoreError> {
        if is_answer(&error) {
            self.give_back();
        } else if !self.is_new {
            self.broke();
            return None;
        }
        Some(store_error(error))
    }

    /// To be called when the server is gone, and with it those that stand idle.
    pub(crate) fn broke(self) {
        let idle = std::mem::take(&mut *self.connections.inner.idle.lock());
        self.connections.inner.metrics.lost(idle.len());
    }

    /// To be called when nothing is left to read and no transaction is open.
    pub(crate) fn give_back(mut self) {
        self.in_use.is_back = true;
        let inner = &self.connections.inner;
        if !inner.permits.is_closed() {
            inner.idle.lock().push(self.connection);
        }
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
