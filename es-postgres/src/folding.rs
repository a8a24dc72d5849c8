//! What a transaction does to the parts of a read model whose rows it changes.

use es_core::{
    AppendError, Changes, Checkpoint, Folded, Inline, InlineModel, Lookup, Name, Part, Position,
    RecordedEvent, Row, RowId, Rows, Slices, StoreError, StoreErrorKind,
};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    call::Call,
    error::{damaged, is_answer, store_error, unsigned, write_error},
    row::number,
    store::Shared,
    views::{moving, read_rows, these},
    writer::{is_late, run},
};

/// Why a transaction is undone.
#[derive(Debug)]
pub(crate) enum Undone {
    Refused(AppendError),
    /// By the server, which may have done it to let another one go on.
    Failed(sqlx::Error),
    /// Somebody has a part for longer than one waits.
    Held(sqlx::Error),
}

impl Undone {
    /// Whether nothing more is to be expected of the connection.
    pub(crate) fn is_unknown(&self) -> bool {
        match self {
            Self::Refused(AppendError::Store(error)) => error.kind() == StoreErrorKind::Unknown,
            Self::Refused(_) | Self::Held(_) => false,
            Self::Failed(error) => !is_answer(error),
        }
    }
}

impl From<AppendError> for Undone {
    fn from(error: AppendError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<sqlx::Error> for Undone {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Undone> for AppendError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Refused(error) => error,
            Undone::Failed(error) | Undone::Held(error) => write_error(error).into(),
        }
    }
}

/// A part that is locked until the end of the transaction.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) part: Part,
    pub(crate) seen: Checkpoint,
    /// Of its build.
    pub(crate) revision: u64,
    /// Whether it changes with each append.
    pub(crate) is_inline: bool,
}

/// Locks the parts of these models that change with each append.
pub(crate) async fn kept(
    shared: &Shared,
    connection: &mut PgConnection,
    models: &[&InlineModel],
) -> Result<Vec<Kept>, Undone> {
    let models: Vec<_> = models.iter().map(|model| &model.name).collect();
    let locked = lock(shared, connection, &models, "AND {inline}").await;
    let mut parts = locked.map_err(|undone| match undone {
        Undone::Failed(error) if is_late(&error) => Undone::Held(error),
        undone => undone,
    })?;
    parts.retain(|one| one.is_inline);
    Ok(parts)
}

/// Locks the parts of the build that answers.
pub(crate) async fn of_model(
    shared: &Shared,
    connection: &mut PgConnection,
    model: &Name,
) -> Result<Vec<Kept>, Undone> {
    lock(shared, connection, &[model], "").await
}

/// In the order of their keys, as by whoever else locks several.
async fn lock(
    shared: &Shared,
    connection: &mut PgConnection,
    models: &[&Name],
    which: &str,
) -> Result<Vec<Kept>, Undone> {
    const LOCK: &str = "SELECT p.model, p.build, p.first_slice, p.last_slice, p.epoch, \
             p.position, b.revision, ({inline}) IS TRUE \
         FROM {schema}.builds AS b \
         JOIN {schema}.parts AS p ON p.model = b.model AND p.build = b.number \
         WHERE b.model = ANY ($1) AND b.serves {which} \
         ORDER BY p.model, p.build, p.first_slice FOR UPDATE OF p";
    const INLINE: &str = "p.owner = 'gesta.inline' AND p.until > clock_timestamp()";
    let sql = LOCK.replace("{which}", which).replace("{inline}", INLINE);
    let names: Vec<_> = models.iter().map(ToString::to_string).collect();
    let call = Call::new(shared.schema.sql(&sql)).bind(names);
    let rows = run(shared, connection, call).await?;
    rows.iter().map(|row| locked(row).map_err(Undone::from)).collect()
}

fn locked(row: &PgRow) -> Result<Kept, StoreError> {
    let model: &str = row.try_get(0).map_err(store_error)?;
    let model = Name::new(model).map_err(damaged)?;
    let slice = |at: usize| {
        let slice: i32 = row.try_get(at).map_err(store_error)?;
        u16::try_from(slice).map_err(damaged)
    };
    let slices = Slices { first: slice(2)?, last: slice(3)? };
    let revision: i64 = row.try_get(6).map_err(store_error)?;
    Ok(Kept {
        part: Part::new(model, unsigned(row.try_get(1).map_err(store_error)?)?, slices),
        seen: Checkpoint { epoch: number(row, 4)?, position: Position::new(number(row, 5)?) },
        revision: revision.cast_unsigned(),
        is_inline: row.try_get(7).map_err(store_error)?,
    })
}

/// Folds events into rows, and writes them.
pub(crate) struct Fold<'f> {
    pub(crate) shared: &'f Shared,
    pub(crate) inline: &'f dyn Inline,
    pub(crate) connection: &'f mut PgConnection,
}

impl Fold<'_> {
    /// What these events of the model make of the part; nothing without events.
    pub(crate) async fn run(
        mut self,
        model: &InlineModel,
        one: &Kept,
        events: &[RecordedEvent],
    ) -> Result<Option<Folded>, Undone> {
        let Kept { part, seen, .. } = one;
        let ids = self.inline.rows_in(model, events, part.slices)?;
        let found = self.found(part, &ids).await?;
        let folded = self.inline.fold_rows(model, part.clone(), events, ids, found)?;
        let Some(folded) = folded else { return Ok(None) };
        let (changes, next) = (Changes::rows(folded.rows.clone()), seen.at(folded.position));
        let call = moving(&self.shared.schema, part, changes, *seen, next)?;
        let moved = run(self.shared, self.connection, call).await?;
        match moved.first().map(|row| row.try_get::<i64, _>(0)).transpose()? {
            Some(1) => Ok(Some(folded)),
            _ => Err(damaged(format!("{part} has moved while it was locked")).into()),
        }
    }

    /// Those of these rows that exist.
    async fn found(&mut self, part: &Part, ids: &[RowId]) -> Result<Vec<Row>, Undone> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let lookup = Lookup::new(part.model.clone(), Rows::These(Vec::new())).in_build(part.build);
        let call = these(&self.shared.schema, &lookup, ids);
        Ok(read_rows(&run(self.shared, self.connection, call).await?)?)
    }
}
