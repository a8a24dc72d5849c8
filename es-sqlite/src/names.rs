//! Small tables that give long names short numbers, with their caches.

use std::{collections::HashMap, hash::Hash};

use es_core::{ContentType, Name, NameError, StoreError, StreamId, Tenant};
use foldhash::fast::RandomState;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{damaged, row_error, store_error};

/// What an event's payload is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) event_type: Name,
    pub(crate) schema_version: u32,
    pub(crate) content_type: ContentType,
}

/// A stream as its row says.
#[derive(Debug, Clone)]
pub(crate) struct StreamRow {
    pub(crate) stream: StreamId,
    pub(crate) tenant: i64,
    pub(crate) category: i64,
}

/// Most entries that a cache keeps; a fuller one begins anew.
const CACHED: usize = 65_536;

/// A map that forgets everything when it is full.
#[derive(Debug)]
pub(crate) struct Cache<K, V>(HashMap<K, V, RandomState>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Hash + Eq, V> Cache<K, V> {
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        if self.0.len() >= CACHED {
            self.0.clear();
        }
        self.0.insert(key, value);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// From numbers to names, for readers. Numbers never change their meaning.
#[derive(Debug, Default)]
pub(crate) struct NamesByNumber {
    kinds: Cache<i64, Kind>,
    streams: Cache<i64, StreamRow>,
}

impl NamesByNumber {
    pub(crate) fn kind(&mut self, connection: &Connection, id: i64) -> Result<Kind, StoreError> {
        if let Some(kind) = self.kinds.get(&id) {
            return Ok(kind.clone());
        }
        const KIND: &str =
            "SELECT event_type, schema_version, content_type FROM kinds WHERE id = ?";
        let row = connection
            .prepare_cached(KIND)
            .and_then(|mut select| {
                select.query_row([id], |row| {
                    Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?))
                })
            })
            .map_err(row_error)?;
        let bad = |e| damaged(format!("kind {id} has a bad name: {e}"));
        let kind = Kind {
            event_type: Name::new(row.0).map_err(bad)?,
            schema_version: row.1,
            content_type: content_type(&row.2).map_err(bad)?,
        };
        self.kinds.put(id, kind.clone());
        Ok(kind)
    }

    pub(crate) fn stream(
        &mut self,
        connection: &Connection,
        id: i64,
    ) -> Result<StreamRow, StoreError> {
        if let Some(row) = self.streams.get(&id) {
            return Ok(row.clone());
        }
        const STREAM: &str = "SELECT s.name, s.tenant, s.category, t.name FROM streams s \
             JOIN tenants t ON t.id = s.tenant WHERE s.id = ?";
        let (name, tenant, category, whose) = connection
            .prepare_cached(STREAM)
            .and_then(|mut select| {
                select.query_row([id], |row| {
                    let whose: String = row.get(3)?;
                    Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, whose))
                })
            })
            .map_err(row_error)?;
        let bad = |e| damaged(format!("stream {id} has a bad name: {e}"));
        let stream = StreamId::parse(name).map_err(bad)?.of(tenant_named(&whose).map_err(bad)?);
        let row = StreamRow { stream, tenant, category };
        self.streams.put(id, row.clone());
        Ok(row)
    }
}

/// The usual names are static, and copying those costs nothing.
fn content_type(text: &str) -> Result<ContentType, NameError> {
    let usual = [ContentType::JSON, ContentType::MESSAGEPACK, ContentType::BYTES];
    match usual.into_iter().find(|usual| usual.as_str() == text) {
        Some(usual) => Ok(usual),
        None => Name::new(text).map(ContentType::new),
    }
}

fn tenant_named(text: &str) -> Result<Tenant, NameError> {
    let usual = Tenant::default();
    if usual.as_str() == text { Ok(usual) } else { Tenant::new(text) }
}

/// Finds the number of a name, if it has one.
pub(crate) fn number(
    connection: &Connection,
    table: Table,
    name: &str,
) -> Result<Option<i64>, StoreError> {
    let sql = match table {
        Table::Tenants => "SELECT id FROM tenants WHERE name = ?",
        Table::Categories => "SELECT id FROM categories WHERE name = ?",
    };
    let found = connection
        .prepare_cached(sql)
        .and_then(|mut select| select.query_row([name], |row| row.get(0)).optional());
    found.map_err(store_error)
}

/// Finds the number of a stream, if it exists.
pub(crate) fn stream_number(
    connection: &Connection,
    stream: &StreamId,
) -> Result<Option<i64>, StoreError> {
    const STREAM: &str = "SELECT s.id FROM streams s JOIN tenants t ON t.id = s.tenant \
         WHERE t.name = ? AND s.name = ?";
    let found = connection.prepare_cached(STREAM).and_then(|mut select| {
        select.query_row([stream.tenant().as_str(), stream.name()], |row| row.get(0)).optional()
    });
    found.map_err(store_error)
}

/// Finds the numbers of all kinds of one event type.
pub(crate) fn kind_numbers(
    connection: &Connection,
    types: &[Name],
) -> Result<Vec<i64>, StoreError> {
    let mut numbers = Vec::new();
    let mut select = connection
        .prepare_cached("SELECT id FROM kinds WHERE event_type = ?")
        .map_err(store_error)?;
    for name in types {
        let found = select.query_map([name.as_str()], |row| row.get(0)).map_err(store_error)?;
        for number in found {
            numbers.push(number.map_err(store_error)?);
        }
    }
    Ok(numbers)
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    Tenants,
    Categories,
}

/// Finds the number of a name, and gives it one if it has none.
pub(crate) fn number_of(
    connection: &Connection,
    table: Table,
    name: &str,
) -> rusqlite::Result<i64> {
    let (select, insert) = match table {
        Table::Tenants => {
            ("SELECT id FROM tenants WHERE name = ?", "INSERT INTO tenants (name) VALUES (?)")
        }
        Table::Categories => {
            ("SELECT id FROM categories WHERE name = ?", "INSERT INTO categories (name) VALUES (?)")
        }
    };
    let found =
        connection.prepare_cached(select)?.query_row([name], |row| row.get(0)).optional()?;
    match found {
        Some(number) => Ok(number),
        None => connection.prepare_cached(insert)?.insert([name]),
    }
}

/// Finds the number of a kind, and gives it one if it has none.
pub(crate) fn kind_number_of(connection: &Connection, kind: &Kind) -> rusqlite::Result<i64> {
    const SELECT: &str = "SELECT id FROM kinds \
         WHERE event_type = ? AND schema_version = ? AND content_type = ?";
    const INSERT: &str =
        "INSERT INTO kinds (event_type, schema_version, content_type) VALUES (?, ?, ?)";
    let Kind { event_type, schema_version, content_type } = kind;
    let key = params![event_type.as_str(), schema_version, content_type.as_str()];
    let found = connection.prepare_cached(SELECT)?.query_row(key, |row| row.get(0)).optional()?;
    match found {
        Some(number) => Ok(number),
        None => connection.prepare_cached(INSERT)?.insert(key),
    }
}
