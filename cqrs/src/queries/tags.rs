use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Weak},
};

use dashmap::{DashMap, Entry};
use es_core::{Invalidation, Position, Tenant};
use tokio::sync::watch;

use crate::{Change, View};

/// Stands between the parts of a tag's text; no name has it.
const BETWEEN: char = '\u{1}';

/// What an answer was made from: a read model, or a row of one.
///
/// ```
/// use cqrs::CacheTag;
///
/// let ada = CacheTag::row_of("statements", "ada");
/// assert_eq!(ada.to_string(), "statements/ada");
/// assert_eq!(CacheTag::model("statements").to_string(), "statements");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheTag {
    model: Cow<'static, str>,
    row: Option<String>,
}

impl CacheTag {
    /// The view `W`, whatever row of it.
    pub fn view<W: View>() -> Self {
        Self::model(W::NAME)
    }

    /// This row of the view `W`, there or not.
    pub fn row<W: View>(key: &W::Key) -> Self {
        Self::row_of(W::NAME, key.to_string())
    }

    /// The model of this name, such as a free-form projection.
    pub fn model(name: impl Into<Cow<'static, str>>) -> Self {
        Self { model: name.into(), row: None }
    }

    /// This row of the model of this name.
    pub fn row_of(model: impl Into<Cow<'static, str>>, key: impl Into<String>) -> Self {
        Self { model: model.into(), row: Some(key.into()) }
    }

    /// How it is written: what a change of its rows names, and what a change of
    /// nobody knows which rows names.
    fn texts(&self, tenant: &Tenant) -> [String; 2] {
        let own = match &self.row {
            None => of_model(tenant, &self.model),
            Some(row) => of_row(tenant, &self.model, row),
        };
        [own, of_all(&self.model)]
    }
}

impl fmt::Display for CacheTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.row {
            None => f.write_str(&self.model),
            Some(row) => write!(f, "{}/{row}", self.model),
        }
    }
}

fn of_model(tenant: &Tenant, model: &str) -> String {
    format!("{tenant}{BETWEEN}{model}")
}

fn of_row(tenant: &Tenant, model: &str, row: &str) -> String {
    format!("{tenant}{BETWEEN}{model}{BETWEEN}{row}")
}

fn of_all(model: &str) -> String {
    format!("{BETWEEN}{model}")
}

/// These tags of a tenant, as a cache knows them.
pub(super) fn texts(tags: &[CacheTag], tenant: &Tenant) -> Vec<String> {
    let mut texts: Vec<_> = tags.iter().flat_map(|tag| tag.texts(tenant)).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// A change, as a cache knows it.
pub(super) fn invalidation(change: Change) -> Invalidation {
    match change {
        Change::Rows { model, rows, position } => {
            let of_rows = rows.iter().map(|row| of_row(&row.tenant, &model, &row.key));
            let mut tags: Vec<_> = of_rows.collect();
            tags.extend(rows.iter().map(|row| of_model(&row.tenant, &model)));
            tags.sort_unstable();
            tags.dedup();
            Invalidation::Tags { tags, position }
        }
        Change::Model { model, position } => {
            Invalidation::Tags { tags: vec![of_all(&model)], position }
        }
        Change::Everything => Invalidation::Everything,
    }
}

/// The tags that anybody in this process cares about, each with the position of
/// its last change. Who is about to read holds the tags first: a change that the
/// reading may have missed is told afterwards, and finds them.
#[derive(Debug, Default)]
pub(super) struct Tags {
    held: Arc<DashMap<String, Weak<Tag>>>,
    /// How often everything was changed.
    era: watch::Sender<u64>,
}

/// A tag for as long as it is held.
#[derive(Debug)]
pub(super) struct Tag {
    text: String,
    changed: watch::Sender<Position>,
    held: Arc<DashMap<String, Weak<Tag>>>,
}

impl Tag {
    /// The position of its last change, as far as anybody has held it.
    #[cfg(any(feature = "cache", test))]
    pub(super) fn changed(&self) -> Position {
        *self.changed.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Position> {
        self.changed.subscribe()
    }
}

impl Tags {
    pub(super) fn hold(&self, texts: &[String]) -> Vec<Arc<Tag>> {
        texts.iter().map(|text| self.hold_one(text)).collect()
    }

    fn hold_one(&self, text: &str) -> Arc<Tag> {
        let new = || {
            let (text, held) = (text.to_owned(), Arc::clone(&self.held));
            Arc::new(Tag { text, changed: watch::Sender::default(), held })
        };
        match self.held.entry(text.to_owned()) {
            Entry::Occupied(mut held) => held.get().upgrade().unwrap_or_else(|| {
                let tag = new();
                held.insert(Arc::downgrade(&tag));
                tag
            }),
            Entry::Vacant(place) => {
                let tag = new();
                place.insert(Arc::downgrade(&tag));
                tag
            }
        }
    }

    pub(super) fn apply(&self, invalidation: &Invalidation) {
        match invalidation {
            Invalidation::Everything => self.era.send_modify(|era| *era += 1),
            Invalidation::Tags { tags, position } => {
                tags.iter().for_each(|tag| self.change(tag, *position));
            }
        }
    }

    fn change(&self, text: &str, position: Position) {
        // The last to hold it may let go meanwhile, which wants the same lock.
        let tag = self.held.get(text).and_then(|held| held.upgrade());
        let Some(tag) = tag else { return };
        tag.changed.send_if_modified(|changed| {
            let moved = position > *changed;
            *changed = position.max(*changed);
            moved
        });
    }

    #[cfg(feature = "cache")]
    pub(super) fn era(&self) -> u64 {
        *self.era.borrow()
    }

    pub(super) fn watch_era(&self) -> watch::Receiver<u64> {
        self.era.subscribe()
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        self.held.remove_if(&self.text, |_, held| held.strong_count() == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(tags: &Tags, text: &str, position: u64) {
        let position = Position::new(position);
        tags.apply(&Invalidation::Tags { tags: vec![text.to_owned()], position });
    }

    #[test]
    fn a_tag_is_remembered_as_long_as_anybody_holds_it() {
        let tags = Tags::default();
        changed(&tags, "a", 3);
        assert_eq!(tags.held.len(), 0);
        let held = tags.hold(&["a".to_owned()]);
        changed(&tags, "a", 7);
        changed(&tags, "a", 5);
        assert_eq!(tags.hold(&["a".to_owned()])[0].changed(), Position::new(7));
        drop(held);
        assert_eq!(tags.held.len(), 0);
    }

    #[test]
    fn a_change_of_a_row_meets_the_row_the_model_and_no_other_tenant() {
        let (tags, us) = (Tags::default(), Tenant::default());
        let them = Tenant::new("them").unwrap();
        let hold = |tag: CacheTag, tenant| tags.hold(&texts(&[tag], tenant));
        let ours = hold(CacheTag::row_of("m", "r"), &us);
        let other = hold(CacheTag::row_of("m", "s"), &us);
        let model = hold(CacheTag::model("m"), &us);
        let theirs = hold(CacheTag::row_of("m", "r"), &them);
        let seen = |held: &[Arc<Tag>]| held.iter().map(|tag| tag.changed().get()).max();

        let rows = [es_core::RowId::new(us.clone(), "r")].into();
        let (of_m, position) = (|| es_core::Name::from_static("m"), Position::new(4));
        tags.apply(&invalidation(Change::Rows { model: of_m(), rows, position }));
        let all = [&ours, &other, &model, &theirs].map(|held| seen(held));
        assert_eq!(all, [Some(4), Some(0), Some(4), Some(0)]);

        let position = Position::new(6);
        tags.apply(&invalidation(Change::Model { model: of_m(), position }));
        assert!([&ours, &other, &model, &theirs].iter().all(|held| seen(held) == Some(6)));
    }
}
