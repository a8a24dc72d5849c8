use bytes::Bytes;

use crate::{Builds, Checkpoint, Name, Part, StoreError, Tenant};

/// Where read models are kept, model and checkpoint as one.
///
/// A read model is either rows with a key, or whatever a projection writes
/// through the transaction. Both commit together with the checkpoint of a part, or
/// not at all, and only if nobody else has moved the checkpoint since. Which parts
/// there are, and which build answers, is up to [`Builds`].
///
/// This is the one static port: its transaction is the adapter's own type.
///
/// ```
/// use es_core::{
///     Builds, BuildChange, Changes, Lookup, Name, Part, Position, Row, RowId, Rows, Slices, Tenant,
///     Views, memory::MemoryViews,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let views = MemoryViews::new();
/// let part = Part::new(Name::new("balances")?, 1, Slices::ALL);
/// views.change(BuildChange::begin(part.model.clone(), 1).parts([Slices::ALL])).await?;
///
/// let (tx, seen) = views.begin(&part).await?;
/// let ada = RowId::new(Tenant::default(), "ada");
/// let changes = Changes::rows([Row { id: ada.clone(), value: Some("7".into()) }]);
/// views.commit(&part, tx, changes, seen, seen.at(Position::new(3))).await?;
///
/// let found = views.rows(Lookup::new(part.model, Rows::These(vec![ada]))).await?;
/// assert_eq!(found[0].value.as_deref(), Some(b"7".as_slice()));
/// # Ok(())
/// # }
/// ```
pub trait Views: Builds + Clone {
    /// Collects what a free-form projection writes, until the commit.
    type Tx: Send;

    /// A new transaction, and the checkpoint of the part; the default one if there
    /// is no such part.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    fn begin(
        &self,
        part: &Part,
    ) -> impl Future<Output = Result<(Self::Tx, Checkpoint), StoreError>> + Send;

    /// Rows of a read model, in the order of their ids; those that do not exist
    /// are left out.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    fn rows(&self, lookup: Lookup) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Commits the transaction, the changes and the checkpoint as one. If the part
    /// is leased, the lease begins anew.
    ///
    /// # Errors
    ///
    /// [`Fenced`](crate::StoreErrorKind::Fenced) if the checkpoint is not `seen` any
    /// more, or if there is no such part; nothing is written then.
    fn commit(
        &self,
        part: &Part,
        tx: Self::Tx,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// What a commit writes besides the transaction: rows of the read model, and what
/// is [parked](Kind::Parked).
///
/// ```
/// use es_core::{Changes, Row, RowId, Tenant};
///
/// let row = Row { id: RowId::new(Tenant::default(), "ada"), value: Some("7".into()) };
/// assert_eq!(Changes::rows([row]).rows.len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Changes {
    /// Rows of the read model; of those with one id the last counts.
    pub rows: Vec<Row>,
    /// Rows beside it, which nobody finds who does not ask for them.
    pub parked: Vec<Row>,
}

impl Changes {
    /// These rows of the read model.
    pub fn rows(rows: impl IntoIterator<Item = Row>) -> Self {
        Self { rows: rows.into_iter().collect(), ..Self::default() }
    }

    /// With these rows beside it.
    #[must_use]
    pub fn parked(mut self, parked: impl IntoIterator<Item = Row>) -> Self {
        self.parked.extend(parked);
        self
    }
}

/// Which rows are asked for, and of what.
///
/// ```
/// use es_core::{Kind, Lookup, Name, Rows};
///
/// let lookup = Lookup::new(Name::new("balances")?, Rows::Every { after: None, limit: 10 });
/// assert_eq!((lookup.build, lookup.kind), (None, Kind::Row));
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookup {
    /// The read model.
    pub model: Name,
    /// Which build of it; `None` is the one that answers.
    pub build: Option<u64>,
    /// Rows of the model, or what is kept beside it.
    pub kind: Kind,
    /// Which of them.
    pub rows: Rows,
}

impl Lookup {
    /// Rows of the build that answers.
    pub fn new(model: Name, rows: Rows) -> Self {
        Self { model, build: None, kind: Kind::Row, rows }
    }

    /// The same rows of this build.
    #[must_use]
    pub fn in_build(self, build: u64) -> Self {
        Self { build: Some(build), ..self }
    }

    /// What is kept beside the model.
    #[must_use]
    pub fn parked(self) -> Self {
        Self { kind: Kind::Parked, ..self }
    }
}

/// Whether a row is part of the read model, or kept beside it.
///
/// ```
/// assert_eq!(es_core::Kind::default(), es_core::Kind::Row);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// A row of the read model.
    #[default]
    Row,
    /// An event that the model could not take.
    Parked,
}

/// The key of a row: whose it is, and which.
///
/// ```
/// use es_core::{RowId, Tenant};
///
/// let id = RowId::new(Tenant::default(), "UA");
/// assert_eq!(id.key, "UA");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// Whose row it is.
    pub tenant: Tenant,
    /// Which row, unique within the tenant.
    pub key: String,
}

impl RowId {
    /// The row `key` of `tenant`.
    pub fn new(tenant: Tenant, key: impl Into<String>) -> Self {
        Self { tenant, key: key.into() }
    }
}

/// A row as it is to be written, or was found.
///
/// ```
/// use es_core::{Row, RowId, Tenant};
///
/// let delete = Row { id: RowId::new(Tenant::default(), "UA"), value: None };
/// assert!(delete.value.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub id: RowId,
    /// Its value; `None` deletes it.
    pub value: Option<Bytes>,
}

/// Which rows to look up.
///
/// ```
/// use es_core::{Rows, Tenant};
///
/// let first_page = Rows::Of { tenant: Tenant::default(), after: None, limit: 100 };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// These.
    These(Vec<RowId>),
    /// All of one tenant, by the page, in the order of their keys.
    Of {
        /// Whose rows.
        tenant: Tenant,
        /// Begin after this key.
        after: Option<String>,
        /// At most this many.
        limit: usize,
    },
    /// All of every tenant, by the page, in the order of their ids.
    Every {
        /// Begin after this row.
        after: Option<RowId>,
        /// At most this many.
        limit: usize,
    },
}
