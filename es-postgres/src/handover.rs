//! How a read model is handed from workers to appends: while nobody appends, what its parts
//! have not seen yet is folded, and they change their owner.

use es_core::{
    Folded, INLINE, INLINE_LEASE, InlineModel, Name, RecordedEvent, StoreError, StoreErrorKind,
    limits,
};
use sqlx::{PgConnection, Row as _};

use crate::{
    builds::seconds,
    call::Call,
    connections::Lent,
    error::{damaged, signed, store_error},
    folding::{Fold, Kept, Undone, of_model},
    inline::{Inlined, read_sql, recorded, say, undo},
    store::Shared,
    views::part_key,
    writer::run,
};

/// Nobody appends from the lock on; who has to wait for it waits no longer than a writer
/// does, so that a transaction that stays open is not in everybody's way.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
     SET LOCAL lock_timeout = '500ms'; SET LOCAL statement_timeout = '10s'; \
     LOCK TABLE {schema}.streams IN SHARE ROW EXCLUSIVE MODE";

/// Keeps the model with each append from now on.
pub(crate) async fn keep_inline(shared: &Shared, name: &Name) -> Result<(), StoreError> {
    let known = |inlined: &Inlined| inlined.inline.model(name).cloned();
    let Some((inlined, model)) =
        shared.inlined.as_ref().and_then(|inlined| Some((inlined, known(inlined)?)))
    else {
        return Err(InlineModel::unknown(name));
    };
    let mut lent = shared.writers.lend().await?;
    let folded = hand_over(shared, inlined, &model, &mut lent).await;
    give_back(lent, &folded);
    let folded = folded.map_err(|undone| model.cannot_begin(undone.into()))?;
    inlined.inline.committed(&folded);
    Ok(())
}

/// Unless nothing is known of it any more.
fn give_back<T>(lent: Lent, outcome: &Result<T, Undone>) {
    match outcome {
        Err(undone) if undone.is_unknown() => lent.broke(),
        _ => lent.give_back(),
    }
}

async fn hand_over(
    shared: &Shared,
    inlined: &Inlined,
    model: &InlineModel,
    connection: &mut PgConnection,
) -> Result<Vec<Folded>, Undone> {
    let handed = async {
        say(shared, connection, BEGIN).await?;
        let folded = HandOver { shared, inlined, model, connection }.run().await?;
        say(shared, connection, "COMMIT").await?;
        Ok(folded)
    };
    match handed.await {
        Ok(folded) => Ok(folded),
        Err(undone) => Err(undo(shared, connection, undone, "ROLLBACK").await),
    }
}

/// In a transaction that has the table `streams` alone.
struct HandOver<'h> {
    shared: &'h Shared,
    inlined: &'h Inlined,
    model: &'h InlineModel,
    connection: &'h mut PgConnection,
}

impl HandOver<'_> {
    async fn run(mut self) -> Result<Vec<Folded>, Undone> {
        self.check_wall().await?;
        self.lock_builds().await?;
        let parts = of_model(self.shared, self.connection, &self.model.name).await?;
        let Some(first) = parts.first() else { return Err(self.model.has_no_build().into()) };
        let has_parked = self.has_parked(first).await?;
        let mut folded = Vec::new();
        for one in &parts {
            let events = self.since(one).await?;
            self.model.check_build(one.revision, has_parked, events.len())?;
            if one.is_inline {
                continue;
            }
            let (shared, inline) = (self.shared, &*self.inlined.inline);
            let folding = Fold { shared, inline, connection: self.connection };
            folded.extend(folding.run(self.model, one, &events).await?);
            self.take(one).await?;
        }
        if parts.iter().any(|one| !one.is_inline) {
            self.tell().await?;
        }
        Ok(folded)
    }

    /// A session of one tenant does not see the parts, and would append what they miss.
    async fn check_wall(&mut self) -> Result<(), Undone> {
        const WALL: &str = "SELECT relrowsecurity FROM pg_catalog.pg_class \
             WHERE oid = '{schema}.parts'::regclass";
        if self.says(Call::new(self.shared.schema.sql(WALL))).await? {
            let why = "no model changes with each append behind a wall between tenants, whose \
                       sessions could not tell which there are: let workers keep it";
            return Err(StoreError::new(StoreErrorKind::Unsupported, why).into());
        }
        Ok(())
    }

    /// As `change_build` does.
    async fn lock_builds(&mut self) -> Result<(), Undone> {
        const LOCK: &str = "SELECT pg_advisory_xact_lock({store}, hashtext('model ' || $1))";
        let call = Call::new(self.shared.schema.sql(LOCK)).bind(self.model.name.to_string());
        run(self.shared, self.connection, call).await?;
        Ok(())
    }

    async fn has_parked(&mut self, one: &Kept) -> Result<bool, Undone> {
        const PARKED: &str = "SELECT EXISTS (SELECT FROM {schema}.view_rows \
             WHERE model = $1 AND build = $2 AND kind = 1)";
        let call = Call::new(self.shared.schema.sql(PARKED));
        let call = call.bind(one.part.model.to_string()).bind(signed(one.part.build)?);
        self.says(call).await
    }

    /// What the part has not seen yet, and one event more than may be folded at once.
    async fn since(&mut self, one: &Kept) -> Result<Vec<RecordedEvent>, Undone> {
        let sql = read_sql(&self.shared.schema, "e.position > $1 AND (e.type = ANY ($2)) IS TRUE");
        let types: Vec<_> = self.model.types.iter().map(ToString::to_string).collect();
        let call = Call::new([&*sql, " LIMIT $3"].concat())
            .bind(i64::try_from(one.seen.position.get()).unwrap_or(i64::MAX))
            .bind(types)
            .bind(i64::try_from(limits::INLINE_CATCH_UP + 1).unwrap_or(i64::MAX));
        recorded(&run(self.shared, self.connection, call).await?)
    }

    /// Under a new epoch, so that whoever kept the part is fenced.
    async fn take(&mut self, one: &Kept) -> Result<(), Undone> {
        const TAKE: &str = "UPDATE {schema}.parts SET epoch = epoch + 1, owner = $5, \
             lease = make_interval(secs => $6), \
             until = clock_timestamp() + make_interval(secs => $6) \
             WHERE model = $1 AND build = $2 AND first_slice = $3 AND last_slice = $4";
        let call = part_key(Call::new(self.shared.schema.sql(TAKE)), &one.part);
        let call = call.bind(INLINE.to_string()).bind(seconds(INLINE_LEASE));
        run(self.shared, self.connection, call).await?;
        Ok(())
    }

    /// Lets every program know; see `inline_models`.
    async fn tell(&mut self) -> Result<(), Undone> {
        const TELL: &str = "INSERT INTO {schema}.inline_models AS i (model, types) \
             SELECT $1, $2::text[] UNION ALL SELECT '', '{}' \
             ON CONFLICT (model) DO UPDATE SET types = excluded.types";
        let types: Vec<_> = self.model.types.iter().map(ToString::to_string).collect();
        let call = Call::new(self.shared.schema.sql(TELL));
        let call = call.bind(self.model.name.to_string()).bind(types);
        run(self.shared, self.connection, call).await?;
        Ok(())
    }

    async fn says(&mut self, call: Call) -> Result<bool, Undone> {
        let rows = run(self.shared, self.connection, call).await?;
        let row = rows.first().ok_or_else(|| damaged("a question has no answer"))?;
        Ok(row.try_get(0).map_err(store_error)?)
    }
}
