//! How rows of a read model are found.

use es_core::{Kind, Lookup, Name, Row, RowId, Rows, StoreError, Tenant};
use rusqlite::{Connection, OptionalExtension, Params, params};

use crate::{
    error::{damaged, store_error},
    parts::number_of_build,
};

/// The build that answers, unless another one is asked for.
macro_rules! rows_where {
    ($condition:literal) => {
        concat!(
            "SELECT tenant, key, value FROM view_rows \
             WHERE model = ?1 AND kind = ?3 AND build = \
             coalesce(?2, (SELECT number FROM builds WHERE model = ?1 AND serves = 1))",
            $condition,
            " ORDER BY tenant, key LIMIT ?4"
        )
    };
}

/// A model, a build of it if one is asked for, and the kind of row.
type Of<'a> = (&'a str, Option<i64>, i64);

pub(crate) fn find(connection: &Connection, lookup: Lookup) -> Result<Vec<Row>, StoreError> {
    let Lookup { model, build, kind, rows, .. } = lookup;
    let of = (model.as_str(), build.map(number_of_build), kind_number(kind));
    match rows {
        Rows::These(ids) if ids.len() == 1 => this(connection, of, &ids[0]),
        Rows::These(ids) => these(connection, &model, of, ids),
        Rows::Of { tenant, after, limit } => of_tenant(connection, of, &tenant, after, limit),
        Rows::Every { after, limit } => every(connection, of, after, limit),
    }
}

fn this(
    connection: &Connection,
    (model, build, kind): Of<'_>,
    RowId { tenant, key }: &RowId,
) -> Result<Vec<Row>, StoreError> {
    const THIS: &str = rows_where!(" AND tenant = ?5 AND key = ?6");
    select(connection, THIS, params![model, build, kind, 1, tenant.as_str(), key])
}

/// Rows are of one moment, and with that of one build.
fn these(
    connection: &Connection,
    model: &Name,
    (_, build, kind): Of<'_>,
    mut ids: Vec<RowId>,
) -> Result<Vec<Row>, StoreError> {
    const THIS: &str = "SELECT value FROM view_rows \
         WHERE model = ? AND build = ? AND kind = ? AND tenant = ? AND key = ?";
    ids.sort_unstable();
    let moment = connection.unchecked_transaction().map_err(store_error)?;
    let build = match build {
        Some(build) => Some(build),
        None => serving(&moment, model)?,
    };
    let mut found = Vec::with_capacity(ids.len());
    let mut select = moment.prepare_cached(THIS).map_err(store_error)?;
    for id in ids {
        let key = params![model.as_str(), build, kind, id.tenant.as_str(), id.key];
        let value = select.query_row(key, |row| row.get::<_, Vec<u8>>(0)).optional();
        if let Some(value) = value.map_err(store_error)? {
            found.push(Row { id, value: Some(value.into()) });
        }
    }
    Ok(found)
}

/// The build that answers.
pub(crate) fn serving(connection: &Connection, model: &Name) -> Result<Option<i64>, StoreError> {
    const SERVING: &str = "SELECT number FROM builds WHERE model = ? AND serves = 1";
    let found = connection
        .prepare_cached(SERVING)
        .and_then(|mut select| select.query_row([model.as_str()], |row| row.get(0)).optional());
    found.map_err(store_error)
}

fn of_tenant(
    connection: &Connection,
    (model, build, kind): Of<'_>,
    tenant: &Tenant,
    after: Option<String>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    const ALL: &str = rows_where!(" AND tenant = ?5");
    const AFTER: &str = rows_where!(" AND tenant = ?5 AND key > ?6");
    let (limit, tenant) = (most(limit), tenant.as_str());
    match after {
        None => select(connection, ALL, params![model, build, kind, limit, tenant]),
        Some(key) => select(connection, AFTER, params![model, build, kind, limit, tenant, key]),
    }
}

fn every(
    connection: &Connection,
    (model, build, kind): Of<'_>,
    after: Option<RowId>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    const ALL: &str = rows_where!("");
    const AFTER: &str = rows_where!(" AND (tenant, key) > (?5, ?6)");
    let limit = most(limit);
    match after {
        None => select(connection, ALL, params![model, build, kind, limit]),
        Some(RowId { tenant, key }) => {
            select(connection, AFTER, params![model, build, kind, limit, tenant.as_str(), key])
        }
    }
}

fn select(connection: &Connection, sql: &str, key: impl Params) -> Result<Vec<Row>, StoreError> {
    let mut select = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = select.query(key).map_err(store_error)?;
    let mut found: Vec<Row> = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let (tenant, key): (String, String) =
            row.get(0).and_then(|tenant| Ok((tenant, row.get(1)?))).map_err(store_error)?;
        let value: Vec<u8> = row.get(2).map_err(store_error)?;
        // Neighbours are mostly of one tenant.
        let tenant = match found.last() {
            Some(last) if last.id.tenant.as_str() == tenant => last.id.tenant.clone(),
            _ => Tenant::new(tenant).map_err(damaged)?,
        };
        found.push(Row { id: RowId::new(tenant, key), value: Some(value.into()) });
    }
    Ok(found)
}

fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The column `kind`.
pub(crate) fn kind_number(kind: Kind) -> i64 {
    match kind {
        Kind::Row => 0,
        Kind::Parked => 1,
    }
}
