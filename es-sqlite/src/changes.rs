//! What happens to builds, each inside a transaction: a refusal takes everything
//! back. It is rare, so that its statements are not kept.

use es_core::{BuildChange, BuildStep, Checkpoint, Position, Slices, StoreError, StoreErrorKind};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    append::signed,
    error::store_error,
    lookup::serving,
    parts::{after, checkpoint_of, number_of_build},
};

pub(crate) fn make(connection: &Connection, change: &BuildChange) -> Result<(), StoreError> {
    let it = Changing {
        connection,
        change,
        model: change.model.as_str(),
        build: number_of_build(change.build),
    };
    match &change.what {
        BuildStep::Begin { revision, parts, from } => it.begin(*revision, parts, *from),
        BuildStep::Divide { from, into } => it.divide(from, into),
        BuildStep::Serve { parts, head } => it.serve(parts, *head),
        BuildStep::Discard => it.discard(),
        BuildStep::Remove => it.remove(),
        _ => Err(it.error(StoreErrorKind::Unsupported, "this program does not know the change")),
    }
}

struct Changing<'a> {
    connection: &'a Connection,
    change: &'a BuildChange,
    model: &'a str,
    build: i64,
}

impl Changing<'_> {
    fn begin(&self, revision: u64, parts: &[Slices], position: Position) -> Result<(), StoreError> {
        const LATEST: &str = "SELECT max(number) FROM builds WHERE model = ?";
        const EPOCH: &str = "SELECT epoch FROM epochs WHERE model = ?";
        const BEGIN: &str =
            "INSERT INTO builds (model, number, revision, serves) VALUES (?, ?, ?, ?)";
        let build = signed(self.change.build)?;
        let latest: Option<i64> = self.number(LATEST)?;
        if latest.is_some_and(|latest| latest >= build) {
            return Err(self.changed());
        }
        let answers = serving(self.connection, &self.change.model)?.is_none();
        let row = params![self.model, build, revision.cast_signed(), answers];
        self.connection.execute(BEGIN, row).map_err(store_error)?;
        let gone = self.number(EPOCH)?;
        let gone = gone.map(|epoch| checkpoint_of(epoch, 0)).transpose()?;
        let epoch = gone.map_or(Ok(0), |gone| after(gone.epoch))?;
        self.insert(parts, Checkpoint { epoch, position })
    }

    fn divide(&self, from: &[(Slices, Checkpoint)], into: &[Slices]) -> Result<(), StoreError> {
        const DELETE: &str = "DELETE FROM parts WHERE model = ? AND build = ? \
             AND first_slice = ? AND last_slice = ? AND epoch = ? AND position = ?";
        let mut delete = self.connection.prepare(DELETE).map_err(store_error)?;
        for (slices, Checkpoint { epoch, position }) in from {
            let (epoch, position) = (signed(*epoch)?, signed(position.get())?);
            let seen = params![self.model, self.build, slices.first, slices.last, epoch, position];
            if delete.execute(seen).map_err(store_error)? == 0 {
                return Err(self.changed());
            }
        }
        let latest = from.iter().map(|(_, checkpoint)| *checkpoint).max_by_key(|one| one.epoch);
        let latest = latest.unwrap_or_default();
        self.insert(into, Checkpoint { epoch: after(latest.epoch)?, ..latest })
    }

    fn insert(&self, parts: &[Slices], at: Checkpoint) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO parts \
             (model, build, first_slice, last_slice, epoch, position) VALUES (?, ?, ?, ?, ?, ?)";
        let (epoch, position) = (signed(at.epoch)?, signed(at.position.get())?);
        let mut insert = self.connection.prepare(INSERT).map_err(store_error)?;
        for Slices { first, last } in parts {
            let row = params![self.model, self.build, first, last, epoch, position];
            insert.execute(row).map_err(store_error)?;
        }
        Ok(())
    }

    fn serve(&self, seen: &[(Slices, Checkpoint)], head: Position) -> Result<(), StoreError> {
        const RESTS: &str = "UPDATE builds SET serves = 0 WHERE model = ? AND serves = 1";
        const SERVES: &str = "UPDATE builds SET serves = 1 WHERE model = ? AND number = ?";
        let mut seen = seen.to_vec();
        seen.sort_unstable_by_key(|(slices, _)| *slices);
        let found = self.parts()?;
        if found.is_empty() || found != seen {
            return Err(self.changed());
        }
        let reached = found.iter().map(|(_, checkpoint)| checkpoint.position).min();
        if self.furthest_of_the_others(head)? > reached {
            return Err(self.behind());
        }
        self.retire(0, self.build - 1)?;
        self.connection.execute(RESTS, [self.model]).map_err(store_error)?;
        let row = params![self.model, self.build];
        self.connection.execute(SERVES, row).map(|_| ()).map_err(store_error)
    }

    fn parts(&self) -> Result<Vec<(Slices, Checkpoint)>, StoreError> {
        const PARTS: &str = "SELECT first_slice, last_slice, epoch, position FROM parts \
             WHERE model = ? AND build = ? ORDER BY first_slice";
        let mut select = self.connection.prepare(PARTS).map_err(store_error)?;
        let mut rows = select.query(params![self.model, self.build]).map_err(store_error)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(store_error)? {
            let slice = |column| row.get(column).map_err(store_error);
            let number = |column| row.get(column).map_err(store_error);
            let slices = Slices { first: slice(0)?, last: slice(1)? };
            found.push((slices, checkpoint_of(number(2)?, number(3)?)?));
        }
        Ok(found)
    }

    /// How far the build that answers has come at most, if it is another; on this log.
    fn furthest_of_the_others(&self, head: Position) -> Result<Option<Position>, StoreError> {
        const FURTHEST: &str = "SELECT max(position) FROM parts p JOIN builds b \
             ON b.model = p.model AND b.number = p.build \
             WHERE b.model = ? AND b.serves = 1 AND b.number <> ? AND p.position <= ?";
        let head = i64::try_from(head.get()).unwrap_or(i64::MAX);
        let of_others = params![self.model, self.build, head];
        let furthest =
            self.connection.query_row(FURTHEST, of_others, |row| row.get::<_, Option<i64>>(0));
        let furthest = furthest.map_err(store_error)?;
        furthest.map(|position| Ok(checkpoint_of(0, position)?.position)).transpose()
    }

    fn discard(&self) -> Result<(), StoreError> {
        const BUILD: &str = "DELETE FROM builds WHERE model = ? AND number = ?";
        const ROWS: &str = "DELETE FROM view_rows WHERE model = ? AND build = ?";
        let key = params![self.model, self.build];
        if serving(self.connection, &self.change.model)? == Some(self.build) {
            return Err(self.changed());
        }
        self.retire(self.build, self.build)?;
        for delete in [BUILD, ROWS] {
            self.connection.execute(delete, key).map_err(store_error)?;
        }
        Ok(())
    }

    fn remove(&self) -> Result<(), StoreError> {
        const BUILDS: &str = "DELETE FROM builds WHERE model = ?";
        const ROWS: &str = "DELETE FROM view_rows WHERE model = ?";
        self.retire(0, i64::MAX)?;
        for delete in [BUILDS, ROWS] {
            self.connection.execute(delete, [self.model]).map_err(store_error)?;
        }
        Ok(())
    }

    /// Takes the parts of these builds away. What begins later does so under a later
    /// epoch than theirs: a number may come back, an owner may not.
    fn retire(&self, first: i64, last: i64) -> Result<(), StoreError> {
        const EPOCH: &str = "INSERT INTO epochs (model, epoch) \
             SELECT model, max(epoch) FROM parts \
             WHERE model = ? AND build BETWEEN ? AND ? GROUP BY model \
             ON CONFLICT (model) DO UPDATE SET epoch = max(epoch, excluded.epoch)";
        const DELETE: &str = "DELETE FROM parts WHERE model = ? AND build BETWEEN ? AND ?";
        for sql in [EPOCH, DELETE] {
            let builds = params![self.model, first, last];
            self.connection.execute(sql, builds).map_err(store_error)?;
        }
        Ok(())
    }

    /// A number of this model.
    fn number(&self, sql: &str) -> Result<Option<i64>, StoreError> {
        let found = self.connection.query_row(sql, [self.model], |row| row.get(0)).optional();
        Ok(found.map_err(store_error)?.flatten())
    }

    fn changed(&self) -> StoreError {
        self.error(StoreErrorKind::Fenced, "it is not as it was, look at the builds again")
    }

    fn behind(&self) -> StoreError {
        self.error(StoreErrorKind::Busy, "it has not come as far as the one that answers")
    }

    fn error(&self, kind: StoreErrorKind, why: &str) -> StoreError {
        let BuildChange { model, build, .. } = self.change;
        StoreError::new(kind, format!("build {build} of {model}: {why}"))
    }
}
