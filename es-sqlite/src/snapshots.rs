use async_trait::async_trait;
use es_core::{ContentType, Name, Snapshot, Snapshots, StoreError, StreamId, Version};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    SqliteStore,
    append::signed,
    error::{damaged, store_error},
};

#[async_trait]
impl Snapshots for SqliteStore {
    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
        let stream = stream.clone();
        self.readers()?.run(move |reader| find(&reader.connection, &stream)).await
    }

    async fn save(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError> {
        let stream = stream.clone();
        self.writer().run(move |connection| put(connection, &stream, &snapshot)).await
    }
}

fn find(connection: &Connection, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
    const FIND: &str = "SELECT version, fingerprint, content_type, state, checksum \
         FROM snapshots WHERE tenant = ? AND stream = ?";
    let found = connection.prepare_cached(FIND).and_then(|mut select| {
        let key = [stream.tenant().as_str(), stream.name()];
        let columns = |row: &rusqlite::Row<'_>| {
            let content_type: String = row.get(2)?;
            let state: Vec<u8> = row.get(3)?;
            Ok((row.get(0)?, row.get(1)?, content_type, state, row.get(4)?))
        };
        select.query_row(key, columns).optional()
    });
    let Some((version, fingerprint, content_type, state, checksum)) = found.map_err(store_error)?
    else {
        return Ok(None);
    };
    let version: i64 = version;
    let version = Version::new(u64::try_from(version).map_err(damaged)?);
    let content_type = ContentType::new(Name::new(content_type).map_err(damaged)?);
    let mut snapshot = Snapshot::new(version, bits(fingerprint), content_type, state);
    snapshot.checksum = bits(checksum);
    Ok(Some(snapshot))
}

fn put(connection: &Connection, stream: &StreamId, snapshot: &Snapshot) -> Result<(), StoreError> {
    const PUT: &str = "INSERT INTO snapshots \
         (tenant, stream, version, fingerprint, content_type, state, checksum) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET version = ?3, \
         fingerprint = ?4, content_type = ?5, state = ?6, checksum = ?7 \
         WHERE version < ?3 OR fingerprint <> ?4";
    let row = params![
        stream.tenant().as_str(),
        stream.name(),
        signed(snapshot.version.get())?,
        snapshot.fingerprint.cast_signed(),
        snapshot.content_type.as_str(),
        &snapshot.state[..],
        snapshot.checksum.cast_signed(),
    ];
    let mut put = connection.prepare_cached(PUT).map_err(store_error)?;
    put.execute(row).map(|_| ()).map_err(store_error)
}

/// SQLite's integers are signed; a fingerprint is only bits.
fn bits(number: i64) -> u64 {
    number.cast_unsigned()
}
