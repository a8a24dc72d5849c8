//! A statement with its values, which owns both.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use sqlx::{
    Arguments, Encode, Error, Executor, PgConnection, Postgres, Type,
    error::BoxDynError,
    postgres::{PgArguments, PgQueryResult, PgRow},
    query_with,
};

#[derive(Debug)]
pub(crate) struct Call {
    sql: Arc<str>,
    values: Result<PgArguments, BoxDynError>,
}

impl Call {
    pub(crate) fn new(sql: impl Into<Arc<str>>) -> Self {
        Self { sql: sql.into(), values: Ok(PgArguments::default()) }
    }

    /// Adds the value of the next `$n`.
    pub(crate) fn bind<'q, T>(mut self, value: T) -> Self
    where
        T: Encode<'q, Postgres> + Type<Postgres> + 'q,
    {
        self.values = self.values.and_then(|mut values| {
            values.add(value)?;
            Ok(values)
        });
        self
    }

    #[cfg(test)]
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// How the server would carry it out with these values.
    #[cfg(test)]
    pub(crate) fn explained(self) -> Self {
        Self { sql: format!("EXPLAIN (COSTS off) {}", self.sql).into(), ..self }
    }

    /// All rows, once the server is ready for the next statement: rows come
    /// before the commit, so that to have them is not to have written.
    pub(crate) async fn fetch_all<'c, E>(self, executor: E) -> Result<Vec<PgRow>, Error>
    where
        E: Executor<'c, Database = Postgres>,
    {
        let values = self.values.map_err(Error::Encode)?;
        query_with(&self.sql, values).fetch_all(executor).await
    }

    pub(crate) async fn execute(
        self,
        connection: &mut PgConnection,
    ) -> Result<PgQueryResult, Error> {
        let values = self.values.map_err(Error::Encode)?;
        query_with(&self.sql, values).execute(connection).await
    }

    /// The rows as they come.
    pub(crate) fn fetch<'c>(
        &'c mut self,
        connection: &'c mut PgConnection,
    ) -> BoxStream<'c, Result<PgRow, Error>> {
        let values = std::mem::replace(&mut self.values, Ok(PgArguments::default()));
        match values {
            Ok(values) => query_with(&self.sql, values).fetch(connection),
            Err(error) => Box::pin(futures_util::stream::once(async { Err(Error::Encode(error)) })),
        }
    }
}
