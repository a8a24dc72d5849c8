//! The SQL that a request becomes, and the values that go with it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use es_core::{
    Alternative, Criteria, Direction, Position, Read, Scope, StreamId, Tag, Tenant, Version,
};
use uuid::Uuid;

use crate::{
    batch::correlation_hash,
    call::Call,
    row::{COLUMNS, OF_ANY_STREAM},
    schema::Schema,
};

/// A request as one statement, to be run once for each page.
#[derive(Debug)]
pub(crate) struct Query {
    sql: Arc<str>,
    values: Vec<Value>,
    /// Whether each row that is looked at is one that is looked for.
    pub(crate) is_search: bool,
}

/// A bound value; the first three of a statement are the window and the limit.
#[derive(Debug, Clone)]
enum Value {
    Number(i64),
    Text(String),
    Texts(Vec<String>),
    Time(DateTime<Utc>),
    Id(Uuid),
}

/// The places that are left to look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) after: Position,
    pub(crate) up_to: Position,
    /// Of a stream, so that a page begins in its index where the last ended.
    pub(crate) after_version: Version,
    pub(crate) up_to_version: Version,
}

/// By which index the rows are found: the planner is left no choice, as without
/// statistics it would sort a whole log for each page.
enum Path {
    Log,
    Stream(StreamId),
    Correlation(i64),
    Tag(Tag),
    /// Any of several.
    Tags(Vec<Tag>),
}

impl Path {
    fn of(read: &Read) -> Self {
        if let Scope::Stream(stream) = &read.scope {
            return Self::Stream(stream.clone());
        }
        if let Some(id) = &read.correlation_id {
            return Self::Correlation(correlation_hash(id));
        }
        if let Some(tag) = read.tags.first() {
            return Self::Tag(tag.clone());
        }
        let Scope::Matching(criteria) = &read.scope else { return Self::Log };
        // One tag of each alternative, if each has one.
        let first = criteria.alternatives().iter().map(|one| one.tags.first().cloned());
        let Some(mut tags) = first.collect::<Option<Vec<_>>>() else { return Self::Log };
        tags.sort_unstable();
        tags.dedup();
        match tags.pop() {
            Some(tag) if tags.is_empty() => Self::Tag(tag),
            Some(tag) => Self::Tags([tags, vec![tag]].concat()),
            None => Self::Log,
        }
    }
}

impl Query {
    pub(crate) fn new(schema: &Schema, read: &Read) -> Self {
        let mut query = Builder { conditions: Vec::new(), values: Vec::new() };
        let path = Path::of(read);
        let from = query.from(&path, read.tenant.as_ref());
        query.filters(read);
        let is_all = query.conditions.is_empty() && read.after_version == Version::NONE;
        let is_search = match path {
            Path::Stream(_) | Path::Correlation(_) | Path::Tag(_) => true,
            Path::Log => is_all || matches!(read.scope, Scope::Append(_)),
            Path::Tags(_) => false,
        };
        // Neither the range of versions nor that of positions is to lead to an
        // index that has the other order.
        let (columns, order, ranges) = match path {
            Path::Stream(_) => (
                COLUMNS.to_owned(),
                "e.version",
                "e.version > $3 AND e.version <= $4 \
                 AND (e.position > $1) IS TRUE AND (e.position <= $2) IS TRUE",
            ),
            Path::Log => (
                [COLUMNS, OF_ANY_STREAM].concat(),
                "e.position",
                "e.position > $1 AND e.position <= $2 \
                 AND (e.version > $3) IS TRUE AND (e.version <= $4) IS TRUE",
            ),
            _ => (
                [COLUMNS, OF_ANY_STREAM].concat(),
                "i.position",
                "i.position > $1 AND i.position <= $2 \
                 AND (e.version > $3) IS TRUE AND (e.version <= $4) IS TRUE",
            ),
        };
        query.conditions.push(ranges.to_owned());
        let direction = match read.direction {
            Direction::Forwards => "",
            Direction::Backwards => " DESC",
        };
        let conditions = query.conditions.join(" AND ");
        let sql = format!(
            "SELECT {columns} FROM {from} WHERE {conditions} ORDER BY {order}{direction} LIMIT $5"
        );
        Self { sql: schema.sql(&sql).into(), values: query.values, is_search }
    }

    #[cfg(test)]
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// The statement for one page.
    pub(crate) fn page(&self, window: Window, limit: usize) -> Call {
        let last = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut query = Call::new(Arc::clone(&self.sql))
            .bind(last(window.after.get()))
            .bind(last(window.up_to.get()))
            .bind(last(window.after_version.get()))
            .bind(last(window.up_to_version.get()))
            .bind(last(limit as u64));
        for value in self.values.iter().cloned() {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
                Value::Texts(texts) => query.bind(texts),
                Value::Time(time) => query.bind(time),
                Value::Id(id) => query.bind(id),
            };
        }
        query
    }
}

/// The values that every statement begins with: the window and the limit.
const GIVEN: usize = 5;

struct Builder {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Builder {
    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("(${})", GIVEN + self.values.len())
    }

    /// A condition that is only looked at.
    fn filter(&mut self, what: &str, value: Value) {
        let place = self.bind(value);
        self.conditions.push(format!("({what}{place}) IS TRUE"));
    }

    /// The tables, with the conditions by which their index is searched.
    fn from(&mut self, path: &Path, tenant: Option<&Tenant>) -> String {
        let join =
            |index: &str| format!("{index} i JOIN {{schema}}.events e ON e.position = i.position");
        let (index, condition) = match path {
            Path::Log => {
                match tenant {
                    Some(tenant) if *tenant == Tenant::default() => {
                        self.filter("e.tenant = ", Value::Text(tenant.to_string()));
                    }
                    // There is an index for the others.
                    Some(_) => {
                        let whose = self.whose("e", tenant);
                        self.conditions.push(format!("{whose} e.tenant <> 'default'"));
                    }
                    None => {}
                }
                return "{schema}.events e".to_owned();
            }
            Path::Stream(stream) => {
                let whose = self.whose("e", Some(stream.tenant()));
                let name = self.bind(Value::Text(stream.name().to_owned()));
                self.conditions.push(format!("{whose} e.stream = {name}"));
                return "{schema}.events e".to_owned();
            }
            Path::Tags(several) => {
                let whose = self.whose("t", tenant);
                let several = self.bind(Value::Texts(tags(several)));
                return join(&format!(
                    "(SELECT DISTINCT t.position FROM {{schema}}.event_tags t \
                     WHERE {whose} t.tag = ANY {several} AND t.position > $1 AND t.position <= $2)"
                ));
            }
            Path::Correlation(hash) => {
                ("{schema}.event_correlations", ("i.hash = ", Value::Number(*hash)))
            }
            Path::Tag(tag) => {
                let tag = Value::Text(tag.as_str().to_owned());
                ("{schema}.event_tags", ("i.tag = ", tag))
            }
        };
        let whose = self.whose("i", tenant);
        let value = self.bind(condition.1);
        self.conditions.push(format!("{whose} {}{value}", condition.0));
        join(index)
    }

    fn filters(&mut self, read: &Read) {
        match &read.scope {
            Scope::Category(category) => {
                // What begins with `category-`, as a range of bytes.
                self.filter("e.stream >= ", Value::Text(format!("{category}-")));
                self.filter("e.stream < ", Value::Text(format!("{category}.")));
            }
            Scope::Matching(criteria) => self.matching(criteria),
            Scope::Append(id) => self.of_append(read.tenant.as_ref(), id.uuid()),
            _ => {}
        }
        if !read.types.is_empty() {
            self.filter("e.type = ANY ", Value::Texts(texts(&read.types)));
        }
        if !read.tags.is_empty() {
            self.filter("e.tags @> ", Value::Texts(tags(&read.tags)));
        }
        if let Some(since) = read.since {
            self.filter("e.recorded_at >= ", Value::Time(since));
        }
        if let Some(until) = read.until {
            self.filter("e.recorded_at < ", Value::Time(until));
        }
    }

    /// One of the alternatives.
    fn matching(&mut self, criteria: &Criteria) {
        let any: Vec<_> = criteria.alternatives().iter().map(|one| self.alternative(one)).collect();
        self.conditions.push(match any.as_slice() {
            [] => "false".to_owned(),
            any => format!("({}) IS TRUE", any.join(" OR ")),
        });
    }

    fn alternative(&mut self, one: &Alternative) -> String {
        let mut all = vec!["true".to_owned()];
        if !one.types.is_empty() {
            let types = self.bind(Value::Texts(texts(&one.types)));
            all.push(format!("e.type = ANY {types}"));
        }
        if !one.tags.is_empty() {
            let tags = self.bind(Value::Texts(tags(&one.tags)));
            all.push(format!("e.tags @> {tags}"));
        }
        format!("({})", all.join(" AND "))
    }

    fn of_append(&mut self, tenant: Option<&Tenant>, id: Uuid) {
        let (whose, id) = (self.whose("a", tenant), self.bind(Value::Id(id)));
        self.conditions.push(format!(
            "(e.append_id = {id}) IS TRUE AND e.position BETWEEN \
             (SELECT min(a.first) FROM {{schema}}.appends a WHERE {whose} a.id = {id}) AND \
             (SELECT max(a.last) FROM {{schema}}.appends a WHERE {whose} a.id = {id})"
        ));
    }

    /// The leading column of an index, if it is known.
    fn whose(&mut self, table: &str, tenant: Option<&Tenant>) -> String {
        tenant.map_or_else(String::new, |tenant| {
            let tenant = self.bind(Value::Text(tenant.as_str().to_owned()));
            format!("{table}.tenant = {tenant} AND")
        })
    }
}

fn texts(names: &[es_core::Name]) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

fn tags(tags: &[Tag]) -> Vec<String> {
    tags.iter().map(|tag| tag.as_str().to_owned()).collect()
}
