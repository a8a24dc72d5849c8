use std::collections::BTreeMap;

use es_core::{Lookup, Name, Row, RowId, Rows, Views};

use crate::ProjectionError;

/// Rows of each build that are looked at together.
const PAGE: usize = 1_000;
/// Most keys that are named.
const NAMED: usize = 20;

/// How the rows of a new build differ from those that answer.
///
/// ```
/// use cqrs::Difference;
///
/// assert!(Difference::default().is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Difference {
    /// Rows that are the same.
    pub same: u64,
    /// Rows that only the old build has.
    pub gone: u64,
    /// Rows that only the new build has.
    pub new: u64,
    /// Rows that both have, with other values.
    pub changed: u64,
    /// Some of the rows that differ.
    pub examples: Vec<RowId>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.gone + self.new + self.changed == 0
    }

    fn count(&mut self, id: RowId, old: Option<&Row>, new: Option<&Row>) {
        match (old, new) {
            (Some(old), Some(new)) if old == new => {
                self.same += 1;
                return;
            }
            (Some(_), Some(_)) => self.changed += 1,
            (Some(_), None) => self.gone += 1,
            (None, _) => self.new += 1,
        }
        if self.examples.len() < NAMED {
            self.examples.push(id);
        }
    }
}

/// Compares two builds, by the page.
pub(crate) async fn compare<V: Views>(
    views: &V,
    model: &Name,
    old: u64,
    new: u64,
) -> Result<Difference, ProjectionError> {
    let mut difference = Difference::default();
    let mut after: Option<RowId> = None;
    loop {
        let page = |build: u64| {
            let rows = Rows::Every { after: after.clone(), limit: PAGE };
            views.rows(Lookup::new(model.clone(), rows).in_build(build))
        };
        let (old, new) = (page(old).await?, page(new).await?);
        let is_last = old.len() < PAGE && new.len() < PAGE;
        // Beyond the shorter page it is not known what the other build has.
        let full = [&old, &new].into_iter().filter(|rows| rows.len() == PAGE);
        let end = full.filter_map(|rows| rows.last()).map(|row| row.id.clone()).min();
        let mut both: BTreeMap<RowId, (Option<Row>, Option<Row>)> = BTreeMap::new();
        for row in old {
            let id = row.id.clone();
            both.entry(id).or_default().0 = Some(row);
        }
        for row in new {
            let id = row.id.clone();
            both.entry(id).or_default().1 = Some(row);
        }
        for (id, (old, new)) in both {
            if end.as_ref().is_none_or(|end| id <= *end) {
                difference.count(id, old.as_ref(), new.as_ref());
            }
        }
        if is_last {
            return Ok(difference);
        }
        after = end;
    }
}
