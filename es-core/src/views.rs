use bytes::Bytes;

use crate::{Checkpoint, Name, StoreError, Tenant};

/// Where read models are kept, model and checkpoint as one.
///
/// A read model is either rows with a key, or whatever a projection writes
/// through the transaction. Both commit together with the checkpoint, or not at
/// all, and only if nobody else has moved the checkpoint since.
///
/// This is the one static port: its transaction is the adapter's own type.
///
/// ```
/// use es_core::{Name, Position, Row, RowId, Rows, Tenant, Views, memory::MemoryViews};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let views = MemoryViews::new();
/// let balances = Name::new("balances")?;
/// let (tx, seen) = views.begin(&balances).await?;
/// let ada = RowId::new(Tenant::default(), "ada");
/// let rows = vec![Row { id: ada.clone(), value: Some("7".into()) }];
/// views.commit(&balances, tx, rows, seen, seen.at(Position::new(3))).await?;
///
/// let found = views.rows(&balances, Rows::These(vec![ada])).await?;
/// assert_eq!(found[0].value.as_deref(), Some(b"7".as_slice()));
/// # Ok(())
/// # }
/// ```
pub trait Views: Clone + Send + Sync + 'static {
    /// Collects what a free-form projection writes, until the commit.
    type Tx: Send;

    /// A new transaction, and the checkpoint of the projection.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    fn begin(
        &self,
        projection: &Name,
    ) -> impl Future<Output = Result<(Self::Tx, Checkpoint), StoreError>> + Send;

    /// Rows of a read model, in the order of their ids; those that do not exist
    /// are left out.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    fn rows(
        &self,
        projection: &Name,
        rows: Rows,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Commits the transaction, the rows and the checkpoint as one.
    ///
    /// # Errors
    ///
    /// [`Fenced`](crate::StoreErrorKind::Fenced) if the checkpoint is not
    /// `seen` any more; nothing is written then.
    fn commit(
        &self,
        projection: &Name,
        tx: Self::Tx,
        rows: Vec<Row>,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes the rows of a read model and sets its checkpoint to the start,
    /// under a new owner.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    fn reset(
        &self,
        projection: &Name,
    ) -> impl Future<Output = Result<Checkpoint, StoreError>> + Send;
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
}
