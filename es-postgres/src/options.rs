use std::{fmt, sync::Arc, time::Duration};

use es_core::{Inline, StoreError, Tenant, World};

use crate::PostgresStore;

/// How to open a store.
///
/// ```no_run
/// use es_postgres::PostgresOptions;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresOptions::new("postgres://bank@db.example/bank?sslmode=verify-full")
///     .schema("ledger")
///     .readers(16)
///     .open()
///     .await?;
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresOptions {
    pub(crate) url: String,
    pub(crate) schema: String,
    pub(crate) migrates: bool,
    pub(crate) readers: usize,
    pub(crate) writers: usize,
    pub(crate) queue: usize,
    pub(crate) is_behind_pooler: bool,
    pub(crate) tenant: Option<Tenant>,
    pub(crate) inline: Option<Arc<dyn Inline>>,
    pub(crate) poll: Duration,
    pub(crate) patience: Duration,
    pub(crate) busy_timeout: Duration,
    pub(crate) world: World,
}

/// Without the URL, which may hold a password.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schema, readers, writers, tenant, .. } = self;
        let mut options = f.debug_struct("PostgresOptions");
        options.field("schema", schema).field("readers", readers).field("writers", writers);
        options.field("tenant", tenant).finish_non_exhaustive()
    }
}

impl PostgresOptions {
    /// The store in the database at this URL. `sslmode=verify-full` asks for TLS
    /// with a certificate that names the host.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            schema: "gesta".into(),
            migrates: true,
            readers: 8,
            writers: 1,
            queue: 4_096,
            is_behind_pooler: false,
            tenant: None,
            inline: None,
            poll: Duration::from_millis(100),
            patience: Duration::from_secs(30),
            busy_timeout: Duration::from_secs(1),
            world: World::real(),
        }
    }

    /// Sets the schema that holds the tables; `gesta` by default. Several stores
    /// may share a database. Any name of 1 to 63 bytes is taken as it is.
    #[must_use]
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Sets whether [`open`](Self::open) makes and migrates the tables; it does
    /// by default. Tables that are there already need no right to create anything;
    /// the role then needs no more than this, here for the schema `gesta`:
    ///
    /// ```sql
    /// GRANT USAGE ON SCHEMA gesta TO app;
    /// GRANT SELECT ON gesta.migrations TO app;
    /// GRANT SELECT, USAGE ON SEQUENCE gesta.positions TO app;
    /// GRANT SELECT, INSERT ON gesta.events, gesta.event_tags,
    ///     gesta.event_correlations, gesta.appends TO app;
    /// GRANT SELECT, INSERT, UPDATE ON gesta.streams, gesta.checkpoints,
    ///     gesta.snapshots, gesta.epochs, gesta.inline_models TO app;
    /// GRANT SELECT, INSERT, DELETE ON gesta.claims, gesta.unfinished,
    ///     gesta.invalidations TO app;
    /// GRANT SELECT, INSERT, UPDATE, DELETE ON gesta.timers, gesta.view_rows,
    ///     gesta.builds, gesta.parts, gesta.cache_tags, gesta.cached_answers,
    ///     gesta.inbox TO app;
    /// ```
    #[must_use]
    pub fn migrates(mut self, migrates: bool) -> Self {
        self.migrates = migrates;
        self
    }

    /// Sets how many connections read at once, also for the
    /// [cache](PostgresStore::cache), and how many more write read models and
    /// checkpoints; 8 by default. They are opened when they are needed.
    #[must_use]
    pub fn readers(mut self, connections: usize) -> Self {
        self.readers = connections.max(1);
        self
    }

    /// Sets how many connections append at once; 1 by default. What waits is
    /// committed together. With 2 a second group is sent while one is under way, and
    /// many clients get about a fifth more done; but then, as with several processes,
    /// a read of the whole log may show an append a moment after it was acknowledged,
    /// as one with an earlier position is still under way.
    #[must_use]
    pub fn writers(mut self, connections: usize) -> Self {
        self.writers = connections.max(1);
        self
    }

    /// Sets how many appends may wait for a writer; 4,096 by default. Further
    /// ones wait until there is room.
    #[must_use]
    pub fn queue(mut self, appends: usize) -> Self {
        self.queue = appends.max(1);
        self
    }

    /// Sets how long an append waits for the row of a stream that another transaction
    /// holds, before it is `Busy`; 1 s by default, and half of the
    /// [patience](Self::patience) at most. Who holds one for longer keeps no
    /// others from appending. [Behind a pooler](Self::behind_pooler) the server's own
    /// `lock_timeout` counts.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// A pooler in transaction mode stands before the server, such as pgbouncer
    /// from 1.21 on with `max_prepared_statements` above 0; an older one does not know
    /// prepared statements, and what is asked through it is `Invalid`. Nothing is asked
    /// of a session then: followers, and those who listen to the [cache](PostgresStore::cache),
    /// are not woken by other processes, and poll.
    #[must_use]
    pub fn behind_pooler(mut self) -> Self {
        self.is_behind_pooler = true;
        self
    }

    /// Opens the store for one tenant: each of its sessions says
    /// `SET gesta.tenant = '…'`, and the server shows it that tenant's rows alone,
    /// whatever a statement asks for. What is asked of the store for another tenant,
    /// or for [every](es_core::Read::every_tenant), is refused as `Invalid`; so are
    /// checkpoints and projections, which serve every tenant.
    ///
    /// The wall is raised by [`separate_tenants`](Self::separate_tenants), and
    /// [`open`](Self::open) is refused as `Schema` where it has gaps: if the role is
    /// a superuser, owns the tables, is let through, or may become such a one. It
    /// cannot stand [behind a pooler](Self::behind_pooler), whose sessions do not
    /// last.
    ///
    /// It is a wall against mistakes, of ours and of yours. Who can run any SQL can
    /// set the setting too.
    ///
    /// ```no_run
    /// use es_core::Tenant;
    /// use es_postgres::PostgresOptions;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let owner = PostgresOptions::new("postgres://owner@db.example/bank");
    /// owner.separate_tenants(["worker"]).await?;
    ///
    /// let app = PostgresOptions::new("postgres://app@db.example/bank");
    /// let store = app.only_tenant(Tenant::new("acme")?).open().await?;
    /// # store.close().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn only_tenant(mut self, tenant: Tenant) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Sets the read models whose rows change with each append, once they
    /// [are kept so](es_core::Builds::keep_inline): see [`Inline`]. Such an append is a
    /// transaction of several statements, and those that concern one model come one after
    /// the other, also those of other programs.
    ///
    /// A store of [one tenant](Self::only_tenant) has none, and where
    /// [`separate_tenants`](Self::separate_tenants) has raised its wall no model begins: a
    /// session of one tenant could not tell which models there are.
    ///
    /// ```no_run
    /// use es_core::{Builds, Inline, Name, StoreError};
    /// use es_postgres::PostgresOptions;
    ///
    /// # async fn open(balances: impl Inline) -> Result<(), StoreError> {
    /// let options = PostgresOptions::new("postgres://bank@db.example/bank");
    /// let store = options.inline(balances).open().await?;
    /// store.keep_inline(&Name::from_static("balances")).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn inline(mut self, models: impl Inline) -> Self {
        self.inline = Some(Arc::new(models));
        self
    }

    /// Sets how often followers look for what nobody has told them of; 100 ms by
    /// default, and four times as much while no append is under way. What is appended
    /// wakes them at once, unless a pooler is between.
    #[must_use]
    pub fn poll(mut self, interval: Duration) -> Self {
        self.poll = interval;
        self
    }

    /// Sets how long to wait for an answer of the server; 30 seconds by default.
    /// The outcome of an append without an answer is unknown. Nor does a session that
    /// writes read models wait for a lock any longer, unless it is behind a pooler.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets where time and tasks come from.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// Opens the store, and makes or migrates its tables.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: `Unavailable` if the server cannot be reached, `Invalid`
    /// for a URL or a schema that is none, `Schema` for tables that are missing or that a
    /// newer program made, and for [one tenant](Self::only_tenant) if the wall has gaps,
    /// `Corrupt` if positions could come twice.
    pub async fn open(self) -> Result<PostgresStore, StoreError> {
        PostgresStore::start(self).await
    }

    /// Makes or migrates the tables, and nothing else: to be run by a role that
    /// may create them. Two at once are safe, and so is one that was killed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn migrate(&self) -> Result<(), StoreError> {
        crate::migrate::run(self).await
    }

    /// As [`migrate`](Self::migrate), and puts row level security between tenants:
    /// each session sees and writes only the rows of the tenant that its setting
    /// `gesta.tenant` names, even one of the owner. `roles` are let through, and no
    /// others: those of projectors, and of stores that are not opened for
    /// [one tenant](Self::only_tenant).
    ///
    /// To be run by the owner of the tables. Two at once are safe, and so are a
    /// second time and one that was killed. It waits for open transactions; until it
    /// has ended nobody gets at the tables.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), `Busy` if an append was in the way: run it again, and
    /// `Invalid` if a read model changes with each append: let workers keep it first.
    pub async fn separate_tenants(
        &self,
        roles: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<(), StoreError> {
        let roles: Vec<_> = roles.into_iter().map(Into::into).collect();
        crate::wall::raise(self, &roles).await
    }
}

#[cfg(test)]
mod tests {
    use super::PostgresOptions;

    #[test]
    fn a_password_is_not_printed() {
        let options = PostgresOptions::new("postgres://bank:secret@db.example/bank");
        assert!(!format!("{options:?}").contains("secret"));
    }
}
