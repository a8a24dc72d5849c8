use async_trait::async_trait;
use es_core::{ContentType, Name, Snapshot, Snapshots, StoreError, StreamId, Version};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    call::Call,
    error::{damaged, signed, store_error},
    row::number,
};

#[async_trait]
impl Snapshots for PostgresStore {
    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
        const FIND: &str = "SELECT version, fingerprint, content_type, state, checksum \
             FROM {schema}.snapshots WHERE tenant = $1 AND stream = $2";
        let shared = self.shared();
        shared.allows(Some(stream.tenant()))?;
        let found = shared.readers.rows(|| {
            Call::new(shared.schema.sql(FIND))
                .bind(stream.tenant().as_str().to_owned())
                .bind(stream.name().to_owned())
        });
        found.await?.first().map(snapshot).transpose()
    }

    /// Twice is as good as once, so that a broken connection is tried again.
    async fn save(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError> {
        const PUT: &str = "INSERT INTO {schema}.snapshots AS s \
             (tenant, stream, version, fingerprint, content_type, state, checksum) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, stream) DO UPDATE \
             SET version = $3, fingerprint = $4, content_type = $5, state = $6, checksum = $7 \
             WHERE s.version < $3 OR s.fingerprint <> $4";
        let version = signed(snapshot.version.get())?;
        let shared = self.shared();
        shared.allows(Some(stream.tenant()))?;
        let put = shared.readers.rows(|| {
            Call::new(shared.schema.sql(PUT))
                .bind(stream.tenant().as_str().to_owned())
                .bind(stream.name().to_owned())
                .bind(version)
                .bind(snapshot.fingerprint.cast_signed())
                .bind(snapshot.content_type.as_str().to_owned())
                .bind(snapshot.state.to_vec())
                .bind(snapshot.checksum.cast_signed())
        });
        put.await.map(|_| ())
    }
}

fn snapshot(row: &PgRow) -> Result<Snapshot, StoreError> {
    // PostgreSQL's integers are signed; a fingerprint is only bits.
    let bits = |at: usize| row.try_get::<i64, _>(at).map(i64::cast_unsigned).map_err(store_error);
    let content_type: &str = row.try_get(2).map_err(store_error)?;
    let content_type = ContentType::new(Name::new(content_type).map_err(damaged)?);
    let state: Vec<u8> = row.try_get(3).map_err(store_error)?;
    let version = Version::new(number(row, 0)?);
    let mut snapshot = Snapshot::new(version, bits(1)?, content_type, state);
    snapshot.checksum = bits(4)?;
    Ok(snapshot)
}
