//! A request with its names turned into numbers, and the SQL that it becomes.

use es_core::{Criteria, Direction, Read, Scope, StoreError, Version};
use rusqlite::{Connection, types::Value};

use crate::{
    names::{Table, kind_numbers, number, stream_number},
    row::COLUMNS,
    window::Window,
};

#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) read: Read,
    pub(crate) source: Source,
    pub(crate) kinds: Option<Vec<i64>>,
    pub(crate) tenant: Option<i64>,
    pub(crate) category: Option<i64>,
    pub(crate) sql: String,
    /// Whether its numbers tell all about a row.
    pub(crate) is_plain: bool,
}

/// Which rows to look at: all that may fit, and as few others as may be.
#[derive(Debug)]
pub(crate) enum Source {
    Nothing,
    Log,
    Stream(i64),
    Labelled(Label, Vec<String>),
}

/// An index from texts to positions.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Label {
    Tag,
    Correlation,
}

impl Query {
    /// Looks the names up. What the file does not know yet matches nothing now,
    /// but may later.
    pub(crate) fn resolve(connection: &Connection, read: Read) -> Result<Self, StoreError> {
        let tenant = match &read.tenant {
            Some(tenant) => Some(number(connection, Table::Tenants, tenant.as_str())?),
            None => None,
        };
        let category = match &read.scope {
            Scope::Category(category) => Some(number(connection, Table::Categories, category)?),
            _ => None,
        };
        let kinds = match read.types.as_slice() {
            [] => None,
            types => Some(kind_numbers(connection, types)?),
        };
        let unknown =
            tenant == Some(None) || category == Some(None) || kinds.as_deref() == Some(&[]);
        let source = if unknown { Source::Nothing } else { source(connection, &read)? };
        let (tenant, category) = (tenant.flatten(), category.flatten());
        let sql = source.sql(read.direction, tenant);
        let is_plain = is_plain(&read);
        Ok(Self { read, source, kinds, tenant, category, sql, is_plain })
    }

    /// The bound values, in the order of [`Source::sql`].
    pub(crate) fn key(&self, window: Window) -> Vec<Value> {
        let integer = |number| Value::Integer(clamp(number));
        let mut key = vec![integer(window.after.get()), integer(window.up_to.get())];
        match &self.source {
            Source::Nothing | Source::Log => {}
            Source::Stream(stream) => {
                key.push(Value::Integer(*stream));
                let versions = window.versions.map(|left| (left.after.get(), left.up_to.get()));
                let (after, up_to) = versions.unwrap_or((0, u64::MAX));
                key.extend([integer(after.saturating_add(1)), integer(up_to)]);
            }
            Source::Labelled(_, texts) => {
                key.extend(self.tenant.map(Value::Integer));
                key.extend(texts.iter().cloned().map(Value::Text));
            }
        }
        key
    }
}

fn is_plain(read: &Read) -> bool {
    let scope = match read.scope {
        Scope::Stream(_) => true,
        Scope::All | Scope::Category(_) => read.after_version == Version::NONE,
        _ => false,
    };
    scope
        && read.tags.is_empty()
        && read.correlation_id.is_none()
        && read.since.is_none()
        && read.until.is_none()
}

fn source(connection: &Connection, read: &Read) -> Result<Source, StoreError> {
    let tag = |tag: &es_core::Tag| tag.as_str().to_owned();
    Ok(match &read.scope {
        Scope::Stream(stream) => {
            stream_number(connection, stream)?.map_or(Source::Nothing, Source::Stream)
        }
        Scope::Append(_) => Source::Log,
        Scope::Matching(criteria) => match tagged(criteria) {
            Some(tags) => Source::Labelled(Label::Tag, tags),
            None => Source::Log,
        },
        _ => match (&read.correlation_id, read.tags.first()) {
            (Some(id), _) => Source::Labelled(Label::Correlation, vec![id.clone()]),
            (None, Some(first)) => Source::Labelled(Label::Tag, vec![tag(first)]),
            (None, None) => Source::Log,
        },
    })
}

/// One tag of each alternative, if each has one: a superset of what matches.
fn tagged(criteria: &Criteria) -> Option<Vec<String>> {
    let tags = criteria.alternatives().iter().map(|one| one.tags.first());
    tags.map(|tag| tag.map(|tag| tag.as_str().to_owned())).collect()
}

impl Source {
    fn sql(&self, direction: Direction, tenant: Option<i64>) -> String {
        let order = match direction {
            Direction::Forwards => "",
            Direction::Backwards => " DESC",
        };
        match self {
            Self::Nothing | Self::Log => format!(
                "SELECT {COLUMNS} FROM events e \
                 WHERE e.position > ?1 AND e.position <= ?2 ORDER BY e.position{order}"
            ),
            Self::Stream(_) => of_stream(direction),
            Self::Labelled(label, texts) => {
                let (table, column) = label.names();
                let (whose, first) = match tenant {
                    Some(_) => ("i.tenant = ?3", 4),
                    None => ("i.tenant IN (SELECT id FROM tenants)", 3),
                };
                let places: Vec<_> =
                    (first..first + texts.len()).map(|n| format!("?{n}")).collect();
                let found = format!(
                    "{whose} AND i.{column} IN ({}) AND i.position > ?1 AND i.position <= ?2",
                    places.join(", ")
                );
                if tenant.is_some() && texts.len() == 1 {
                    return format!(
                        "SELECT {COLUMNS} FROM {table} i CROSS JOIN events e \
                         ON e.position = i.position WHERE {found} ORDER BY i.position{order}"
                    );
                }
                format!(
                    "SELECT {COLUMNS} FROM events e WHERE e.position IN \
                     (SELECT i.position FROM {table} i WHERE {found}) ORDER BY e.position{order}"
                )
            }
        }
    }
}

impl Label {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Tag => ("event_tags", "tag"),
            Self::Correlation => ("event_correlations", "correlation"),
        }
    }
}

/// The events of the stream `?3` with versions from `?4` to `?5` and positions
/// above `?1` up to `?2`: from run to run, and in each only what is asked for.
pub(crate) fn of_stream(direction: Direction) -> String {
    let order = match direction {
        Direction::Forwards => "",
        Direction::Backwards => " DESC",
    };
    format!(
        "SELECT {COLUMNS} FROM stream_runs r CROSS JOIN events e ON e.position \
         BETWEEN max(r.position + max(?4 - r.version, 0), ?1 + 1) \
         AND min(r.position + min(r.events - 1, ?5 - r.version), ?2) \
         WHERE r.stream = ?3 AND r.position <= ?2 AND r.position + r.events - 1 > ?1 \
         AND r.version <= ?5 AND r.version >= coalesce(\
         (SELECT version FROM stream_runs WHERE stream = ?3 AND version <= ?4 \
         ORDER BY version DESC LIMIT 1), 0) \
         ORDER BY r.version{order}, e.position{order}"
    )
}

/// Beyond what SQLite can count there is nothing.
pub(crate) fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use es_core::{Position, Read, StreamId, Tag, World};

    use super::*;
    use crate::{SqliteOptions, connection::open_writer, names::number_of};

    fn plan(connection: &Connection, read: Read) -> String {
        let query = Query::resolve(connection, read).unwrap();
        assert!(!matches!(query.source, Source::Nothing));
        let window = Window::new(&query.read, Position::new(9));
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql)).unwrap();
        let key = rusqlite::params_from_iter(query.key(window));
        let steps = explain.query_map(key, |row| row.get::<_, String>(3)).unwrap();
        steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    }

    /// A read of a page neither walks a whole table nor sorts.
    #[test]
    fn every_read_is_a_search() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("plan.db")).world(World::real());
        let connection = open_writer(&options).unwrap();
        number_of(&connection, Table::Tenants, "default").unwrap();
        number_of(&connection, Table::Categories, "bell").unwrap();
        connection.execute("INSERT INTO streams VALUES (1, 1, 1, 'bell-a')", []).unwrap();
        let (one, other) = (Tag::new("key", "one").unwrap(), Tag::new("key", "other").unwrap());
        let stream = Read::stream(&StreamId::new("bell", "a").unwrap());
        let any = Criteria::tag(one.clone()).or(Criteria::tag(other));
        for read in [
            Read::all(),
            stream.clone(),
            stream.backwards(),
            Read::all().tag(one.clone()),
            Read::all().tag(one.clone()).backwards(),
            Read::all().tag(one).every_tenant(),
            Read::matching(any),
            Read::all().correlated("c"),
            Read::all().correlated("c").every_tenant(),
        ] {
            let plan = plan(&connection, read.clone());
            let walks =
                plan.contains("SCAN e") || plan.contains("SCAN i") || plan.contains("SCAN r");
            assert!(!walks && !plan.contains("TEMP B-TREE FOR ORDER"), "{read:?}: {plan}");
        }
    }
}
