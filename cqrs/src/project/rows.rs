//! The rows of a view, as whoever asks gets them.

use es_core::{Lookup, Name, RowId, Rows, Views};

use super::viewing::decode_row;
use crate::{ProjectionError, Projector, View};

/// Rows that are asked for at once.
const ROWS: usize = 1_000;
/// How often reading all rows begins anew because another build has begun to answer.
const TRIES: usize = 20;

impl<V: Views> Projector<V> {
    /// The row with this key, if there is one.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails or the row cannot be read.
    pub async fn get<W: View>(&self, key: &W::Key) -> Result<Option<W>, ProjectionError> {
        let ids = Rows::These(vec![RowId::new(self.tenant.clone(), key.to_string())]);
        let rows = self.inner.views.rows(Lookup::new(Name::from_static(W::NAME), ids)).await?;
        let row = rows.into_iter().next().and_then(|row| Some((row.id, row.value?)));
        row.map(|(id, value)| decode_row(&id, &value)).transpose()
    }

    /// All rows of a view, in the order of their keys as text. They are of one build, but
    /// more than 1,000 are read one page after the other, while events go on to change them.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails or a row cannot be read.
    pub async fn all<W: View>(&self) -> Result<Vec<(String, W)>, ProjectionError> {
        let lookup = |after| {
            let page = Rows::Of { tenant: self.tenant.clone(), after, limit: ROWS };
            Lookup::new(Name::from_static(W::NAME), page)
        };
        let first: Vec<(String, W)> = self.page(lookup(None)).await?;
        if first.len() < ROWS {
            return Ok(first);
        }
        for _ in 0..TRIES {
            let Some(build) = self.serving::<W>().await? else { return Ok(Vec::new()) };
            let mut all: Vec<(String, W)> = Vec::new();
            loop {
                let after = all.last().map(|(key, _)| key.clone());
                let page = self.page(lookup(after).in_build(build)).await?;
                let is_last = page.len() < ROWS;
                all.extend(page);
                if is_last {
                    break;
                }
            }
            // The rows of one that was replaced meanwhile may be half deleted.
            if self.serving::<W>().await? == Some(build) {
                return Ok(all);
            }
        }
        let why = "another build answers again and again, try again later";
        Err(ProjectionError::Refused { name: W::NAME.to_owned(), why })
    }

    async fn page<W: View>(&self, lookup: Lookup) -> Result<Vec<(String, W)>, ProjectionError> {
        let rows = self.inner.views.rows(lookup).await?.into_iter();
        let rows = rows.map(|row| {
            let value = row.value.unwrap_or_default();
            decode_row(&row.id, &value).map(|decoded| (row.id.key, decoded))
        });
        rows.collect()
    }

    /// The build that answers.
    async fn serving<W: View>(&self) -> Result<Option<u64>, ProjectionError> {
        let builds = self.inner.views.builds(&[Name::from_static(W::NAME)]).await?;
        Ok(builds.iter().find(|build| build.serves).map(|build| build.number))
    }
}
