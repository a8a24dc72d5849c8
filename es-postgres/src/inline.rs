//! Appends that change the rows of read models, in one transaction with them.
//!
//! They share the table `streams`, as every append does; who hands a model over has it
//! alone. Then they lock the parts of the models, so that those of one model come one
//! after the other, and only then draw positions: each row sees its events in the order
//! of the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use es_core::{
    AppendError, Appended, Batch, Folded, Inline, InlineModel, Name, RecordedEvent, StoreError,
    StoreErrorKind,
};
use parking_lot::Mutex;
use sqlx::{Executor, PgConnection, Row as _, postgres::PgRow, raw_sql};

use crate::{
    answers::answer,
    call::Call,
    connections::in_time,
    error::{again, damaged, is_answer, store_error, write_error},
    folding::{Fold, Kept, Undone, kept},
    queue::Job,
    row::{COLUMNS, Decoder, OF_ANY_STREAM},
    schema::Schema,
    store::Shared,
    writer::{TRIES, is_undone, not_sent, once, run, send},
};

/// The models that a store was opened with.
#[derive(Debug)]
pub(crate) struct Inlined {
    pub(crate) inline: Arc<dyn Inline>,
    /// Those that were kept with each append when somebody looked last. Who is wrong about
    /// one takes a way that tells.
    kept: Mutex<BTreeSet<Name>>,
}

impl Inlined {
    pub(crate) fn new(inline: Arc<dyn Inline>) -> Self {
        Self { inline, kept: Mutex::default() }
    }

    /// Whether the batch changes rows, as far as is known.
    pub(crate) fn folds(&self, batch: &Batch) -> bool {
        let kept = self.kept.lock();
        !kept.is_empty() && self.models_of([batch]).any(|model| kept.contains(&model.name))
    }

    /// Whether the batch was refused for a model that is known here, and is to be folded.
    pub(crate) fn learns(&self, outcome: &Result<Appended, AppendError>) -> bool {
        match outcome {
            Err(AppendError::Model { model, .. }) if self.inline.model(model).is_some() => {
                self.kept.lock().insert(model.clone());
                true
            }
            _ => false,
        }
    }

    fn saw(&self, models: &[&InlineModel], found: &[Kept]) {
        let mut kept = self.kept.lock();
        for InlineModel { name, .. } in models {
            if found.iter().any(|one| one.part.model == *name) {
                kept.insert(name.clone());
            } else {
                kept.remove(name);
            }
        }
    }

    /// The models that these batches concern.
    fn models_of<'i>(
        &'i self,
        batches: impl IntoIterator<Item = &'i Batch> + Clone,
    ) -> impl Iterator<Item = &'i InlineModel> {
        self.inline.models().iter().filter(move |model| {
            let writes = batches.clone().into_iter().flat_map(|batch| &batch.writes);
            writes.flat_map(|write| &write.events).any(|one| model.types.contains(&one.event_type))
        })
    }
}

/// Appends one batch, and tries again what a deadlock has undone.
pub(crate) async fn alone(
    shared: &Arc<Shared>,
    inlined: &Inlined,
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<Appended, AppendError> {
    let mut tries = 1;
    loop {
        match append(shared, inlined, connection, &[batch]).await {
            Ok(mut outcomes) => return outcomes.pop().unwrap_or_else(|| Err(unanswered().into())),
            Err(Undone::Failed(error)) if is_undone(&error) && tries < TRIES => tries += 1,
            Err(undone) => return Err(undone.into()),
        }
    }
}

/// Appends those that concern the same models in one transaction. What is left is to go by
/// itself: what is wrong with one of them must not hurt the others. An error, if nothing more
/// is to be expected of the connection; then all are answered.
pub(crate) async fn together(
    shared: &Arc<Shared>,
    connection: &mut PgConnection,
    jobs: Vec<Job>,
) -> Result<Vec<Job>, ()> {
    let Some(inlined) = &shared.inlined else { return Ok(jobs) };
    let mut groups: BTreeMap<Vec<Name>, Vec<Job>> = BTreeMap::new();
    for job in jobs {
        let models = inlined.models_of([&job.batch]).map(|model| model.name.clone()).collect();
        groups.entry(models).or_default().push(job);
    }
    let (mut groups, mut left) = (groups.into_values(), Vec::new());
    while let Some(group) = groups.next() {
        match one_group(shared, inlined, connection, group).await {
            Ok(rest) => left.extend(rest),
            Err(()) => {
                let left = groups.flatten().chain(left);
                left.for_each(|job| job.answer(Err(not_sent().into())));
                return Err(());
            }
        }
    }
    Ok(left)
}

async fn one_group(
    shared: &Arc<Shared>,
    inlined: &Inlined,
    connection: &mut PgConnection,
    group: Vec<Job>,
) -> Result<Vec<Job>, ()> {
    if group.len() < 2 {
        return Ok(group);
    }
    let batches: Vec<_> = group.iter().map(|job| &job.batch).collect();
    let undone = match append(shared, inlined, connection, &batches).await {
        Ok(outcomes) => {
            let answers = group.into_iter().zip(outcomes);
            answers.for_each(|(job, outcome)| job.answer(outcome));
            return Ok(Vec::new());
        }
        Err(undone) => undone,
    };
    let (is_unknown, is_held) = (undone.is_unknown(), matches!(undone, Undone::Held(_)));
    match AppendError::from(undone) {
        // All of them would wait as long, one after the other.
        AppendError::Store(error) if is_unknown || is_held => {
            group.into_iter().for_each(|job| job.answer(Err(again(&error).into())));
            if is_unknown { Err(()) } else { Ok(Vec::new()) }
        }
        _ => Ok(group),
    }
}

/// What each batch was told, once all are committed; or nothing of them is.
async fn append(
    shared: &Arc<Shared>,
    inlined: &Inlined,
    connection: &mut PgConnection,
    batches: &[&Batch],
) -> Result<Vec<Result<Appended, AppendError>>, Undone> {
    const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
         LOCK TABLE {schema}.streams IN ROW EXCLUSIVE MODE";
    let written = async {
        say(shared, connection, BEGIN).await?;
        let written = Inlining { shared, inlined, connection }.write(batches).await?;
        say(shared, connection, "COMMIT").await?;
        Ok(written)
    };
    let Written { rows, fold } = match written.await {
        Ok(written) => written,
        Err(undone) => return Err(undo(shared, connection, undone, "ROLLBACK").await),
    };
    inlined.inline.committed(&fold);
    shared.horizon.wake();
    let mut outcomes = Vec::with_capacity(batches.len());
    for (batch, row) in batches.iter().zip(&rows) {
        outcomes.push(answer(shared, connection, batch, row).await);
    }
    Ok(outcomes)
}

/// Appends in a transaction of the caller, which cannot be committed while this is only
/// half done. A refusal leaves nothing.
pub(crate) async fn append_in(
    shared: &Arc<Shared>,
    inlined: &Inlined,
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<Appended, AppendError> {
    const BEGIN: &str = "SAVEPOINT gesta_append; \
         LOCK TABLE {schema}.streams IN ROW EXCLUSIVE MODE; \
         INSERT INTO {schema}.unfinished VALUES ('unfinished {id}')";
    const END: &str = "DELETE FROM {schema}.unfinished WHERE append = 'unfinished {id}'; \
         RELEASE SAVEPOINT gesta_append";
    const UNDO: &str = "ROLLBACK TO SAVEPOINT gesta_append; RELEASE SAVEPOINT gesta_append";
    if !inlined.folds(batch) {
        let outcome = once(shared, connection, batch).await;
        if !inlined.learns(&outcome) {
            return outcome;
        }
    }
    check_isolation(shared, connection).await?;
    // What an earlier call has left unfinished in this transaction stays so.
    let id = shared.options.world.random_u64().to_string();
    let written = async {
        say(shared, connection, &BEGIN.replace("{id}", &id)).await?;
        let written = Inlining { shared, inlined, connection }.write(&[batch]).await?;
        say(shared, connection, &END.replace("{id}", &id)).await?;
        Ok(written)
    };
    match written.await {
        Ok(Written { rows, .. }) => {
            let row = rows.first().ok_or_else(unanswered)?;
            answer(shared, connection, batch, row).await
        }
        // A failure has undone all of the transaction, as far as the caller is told.
        Err(undone @ Undone::Refused(_)) => {
            Err(undo(shared, connection, undone, UNDO).await.into())
        }
        Err(undone) => Err(undone.into()),
    }
}

/// What is folded has to be as it is when it is locked.
async fn check_isolation(
    shared: &Shared,
    connection: &mut PgConnection,
) -> Result<(), AppendError> {
    let rows = run(shared, connection, Call::new("SHOW transaction_isolation")).await;
    let rows = rows.map_err(write_error)?;
    let found = rows.first().map(|row| row.try_get::<&str, _>(0).map_err(store_error));
    if found.transpose()? == Some("read committed") {
        return Ok(());
    }
    let why = "a model that changes with each append needs a transaction that is READ COMMITTED";
    Err(StoreError::new(StoreErrorKind::Invalid, why).into())
}

/// What was written, and not committed yet.
struct Written {
    /// What `append_one` has answered, for each batch.
    rows: Vec<PgRow>,
    fold: Vec<Folded>,
}

/// In a transaction that shares the table `streams`.
struct Inlining<'i> {
    shared: &'i Shared,
    inlined: &'i Inlined,
    connection: &'i mut PgConnection,
}

impl Inlining<'_> {
    async fn write(self, batches: &[&Batch]) -> Result<Written, Undone> {
        let Self { shared, inlined, connection } = self;
        let models: Vec<_> = inlined.models_of(batches.iter().copied()).collect();
        let found = kept(shared, connection, &models).await?;
        inlined.saw(&models, &found);
        for Kept { part, revision, .. } in &found {
            if let Some(model) = inlined.inline.model(&part.model) {
                model.check_revision(*revision)?;
            }
        }
        let mut folded: Vec<_> = found.iter().map(|one| one.part.model.to_string()).collect();
        folded.dedup();
        let mut rows = Vec::with_capacity(batches.len());
        for batch in batches {
            rows.push(send(shared, connection, batch, &folded).await??);
        }
        let events = events(shared, connection, &folded_types(&models, &found), &rows).await?;
        let mut fold = Vec::new();
        for one in &found {
            let Some(model) = inlined.inline.model(&one.part.model) else { continue };
            let events: Vec<_> = model.of(&events).cloned().collect();
            let connection = &mut *connection;
            let folding = Fold { shared, inline: &*inlined.inline, connection };
            fold.extend(folding.run(model, one, &events).await?);
        }
        Ok(Written { rows, fold })
    }
}

fn folded_types(models: &[&InlineModel], found: &[Kept]) -> Vec<String> {
    let is_kept = |model: &&&InlineModel| found.iter().any(|one| one.part.model == model.name);
    let types = models.iter().filter(is_kept).flat_map(|model| &model.types);
    types.map(ToString::to_string).collect()
}

/// What was just written of these types; what was there already has no positions.
async fn events(
    shared: &Shared,
    connection: &mut PgConnection,
    types: &[String],
    rows: &[PgRow],
) -> Result<Vec<RecordedEvent>, Undone> {
    let mut positions = Vec::new();
    for row in rows {
        if row.try_get::<&str, _>(0).map_err(store_error)? == "written" {
            let own: Option<Vec<i64>> = row.try_get(4).map_err(store_error)?;
            positions.extend(own.unwrap_or_default());
        }
    }
    if types.is_empty() || positions.is_empty() {
        return Ok(Vec::new());
    }
    let sql = read_sql(&shared.schema, "e.position = ANY ($1) AND e.type = ANY ($2)");
    let call = Call::new(sql).bind(positions).bind(types.to_vec());
    recorded(&run(shared, connection, call).await?)
}

/// Events of any stream in the order of the log.
pub(crate) fn read_sql(schema: &Schema, condition: &str) -> String {
    schema.sql(&format!(
        "SELECT {COLUMNS}{OF_ANY_STREAM} FROM {{schema}}.events e WHERE {condition} \
         ORDER BY e.position"
    ))
}

pub(crate) fn recorded(rows: &[PgRow]) -> Result<Vec<RecordedEvent>, Undone> {
    let mut decoder = Decoder::new(None);
    let events = rows.iter().map(|row| decoder.event(row));
    events.collect::<Result<_, _>>().map_err(Undone::from)
}

/// Statements without values, in one way to the server.
pub(crate) async fn say(
    shared: &Shared,
    connection: &mut PgConnection,
    statements: &str,
) -> Result<(), Undone> {
    let sql = shared.schema.sql(statements);
    let sent = async { Ok(connection.execute(raw_sql(&sql)).await) };
    let outcome = in_time(&shared.options, sent).await;
    outcome.map_err(unknown)?.map(|_| ()).map_err(Undone::Failed)
}

/// Why all is undone, once it is; a connection that cannot do that is not to be used again.
pub(crate) async fn undo(
    shared: &Shared,
    connection: &mut PgConnection,
    why: Undone,
    how: &str,
) -> Undone {
    if matches!(&why, Undone::Failed(error) if !is_answer(error)) {
        return why;
    }
    match say(shared, connection, how).await {
        Ok(()) => why,
        Err(Undone::Failed(error)) => unknown(write_error(error)),
        Err(undone) => undone,
    }
}

fn unanswered() -> StoreError {
    damaged("an answer is missing")
}

/// Nobody knows what has become of the connection.
fn unknown(error: StoreError) -> Undone {
    Undone::Refused(StoreError::new(StoreErrorKind::Unknown, error.to_string()).into())
}
