//! What must hold for a batch to be appended.

use es_core::{
    AppendError, Batch, Claim, Conflict, Direction, Expected, Position, RecordedEvent, StoreError,
    StreamId, Unless, Version, Write, limits,
};
use rusqlite::{OptionalExtension, params};

use crate::{
    append::{select, signed},
    error::{damaged, store_error},
    log::{Head, Log},
    query::{clamp, of_stream},
    row::{integer, tags, unsigned},
};

impl Log<'_> {
    /// Decides before a row of the batch is written.
    pub(crate) fn check(&mut self, batch: &Batch) -> Result<(), AppendError> {
        for (at, write) in batch.writes.iter().enumerate() {
            if write.expected != Expected::Any || self.has_tombstones {
                self.check_expected(write, &batch.writes[..at])?;
            }
        }
        for unless in &batch.unless {
            self.check_unless(batch, unless)?;
        }
        let claims = batch.claims_in_order();
        for (at, claim) in claims.iter().enumerate() {
            self.check_claim(claim, &claims[..at])?;
        }
        Ok(())
    }

    pub(crate) fn check_expected(
        &mut self,
        write: &Write,
        earlier: &[Write],
    ) -> Result<(), AppendError> {
        let same = earlier.iter().filter(|earlier| earlier.stream == write.stream);
        let added = same.map(|earlier| earlier.events.len()).sum();
        let head = self.stream(&write.stream)?;
        if head.is_some_and(|head| head.is_tombstoned) {
            return Err(AppendError::Gone { stream: write.stream.clone() });
        }
        let actual = head.map_or(Version::NONE, |head| head.version);
        if write.expected.allows(actual.plus(added)) {
            return Ok(());
        }
        let seen = match write.expected {
            Expected::Exact(version) => version,
            _ => Version::NONE,
        };
        let unseen = match head {
            Some(head) if seen < actual => self.after_version(head, seen)?,
            _ => Vec::new(),
        };
        let stream = write.stream.clone();
        Err(AppendError::Conflict(Box::new(Conflict { stream, actual, unseen })))
    }

    fn after_version(
        &mut self,
        head: Head,
        seen: Version,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        if head.version.get() - seen.get() > limits::CONFLICT_EVENTS as u64 {
            return Ok(Vec::new());
        }
        self.pending.flush()?;
        let sql = of_stream(Direction::Forwards);
        let (from, to) = (signed(seen.get() + 1)?, i64::MAX);
        let key = params![0, i64::MAX, head.number, from, to];
        select(self.connection, &mut self.names, &sql, key)
    }

    fn check_unless(&mut self, batch: &Batch, unless: &Unless) -> Result<(), AppendError> {
        let Some(tenant) = batch.tenant() else { return Ok(()) };
        let tenant = self.tenant(tenant)?;
        self.pending.flush()?;
        let mut first = None;
        for one in unless.criteria.alternatives() {
            let found = match one.tags.first() {
                Some(tag) => self.first_match(unless, tenant, TAGGED, Some(tag.as_str()))?,
                None => self.first_match(unless, tenant, UNTAGGED, None)?,
            };
            first = [first, found].into_iter().flatten().min();
        }
        first.map_or(Ok(()), |position| Err(AppendError::Overtaken { position }))
    }

    /// The first event that meets the criteria, among those that the query lists
    /// as position, stream, kind and tags.
    fn first_match(
        &mut self,
        unless: &Unless,
        tenant: i64,
        sql: &str,
        tag: Option<&str>,
    ) -> Result<Option<Position>, StoreError> {
        let after = clamp(unless.after.get());
        let mut select = self.connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = select.query(params![after, tenant, tag]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let stream = self.names.stream(self.connection, integer(row, 1)?)?;
            let kind = self.names.kind(self.connection, integer(row, 2)?)?;
            if stream.tenant == tenant && unless.criteria.accept(&kind.event_type, &tags(row, 3)?) {
                return Ok(Some(Position::new(unsigned(row, 0)?)));
            }
        }
        Ok(None)
    }

    fn check_claim(&mut self, claim: &Claim, earlier: &[Claim]) -> Result<(), AppendError> {
        let stored = self.holder(claim)?;
        match claim.holder_after(earlier, stored) {
            Some(holder) if claim.is_refused_by(&holder) => Err(AppendError::Claimed {
                scope: claim.scope().clone(),
                key: claim.key().clone(),
                holder,
            }),
            _ => Ok(()),
        }
    }

    fn holder(&mut self, claim: &Claim) -> Result<Option<StreamId>, StoreError> {
        const HOLDER: &str = "SELECT holder FROM claims WHERE tenant = ? AND scope = ? AND key = ?";
        let tenant = self.tenant(claim.holder().tenant())?;
        let key = params![tenant, claim.scope().as_str(), claim.key().as_str()];
        let found: Option<String> = self
            .connection
            .prepare_cached(HOLDER)
            .and_then(|mut select| select.query_row(key, |row| row.get(0)).optional())
            .map_err(store_error)?;
        let holder = |name: String| {
            let stream = StreamId::parse(&name).map_err(damaged);
            stream.map(|stream| stream.of(claim.holder().tenant().clone()))
        };
        found.map(holder).transpose()
    }
}

const TAGGED: &str = "SELECT e.position, e.stream, e.kind, e.tags \
     FROM event_tags t JOIN events e ON e.position = t.position \
     WHERE t.position > ?1 AND t.tenant = ?2 AND t.tag = ?3 ORDER BY t.position";
const UNTAGGED: &str = "SELECT position, stream, kind, tags FROM events \
     WHERE position > ?1 AND (?2 = ?2) AND (?3 IS NULL) ORDER BY position";
