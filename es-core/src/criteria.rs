use crate::{Name, RecordedEvent, Tag};

/// Which events, wherever they stand: alternatives, each a set of types (any
/// of them) together with a set of tags (all of them).
///
/// ```
/// use es_core::{Criteria, Name, Tag};
///
/// let course = Tag::new("course", "rust-101")?;
/// let student = Tag::new("student", "ada")?;
/// let criteria = Criteria::tag(course).and(student).or(Criteria::types([Name::new("term.closed")?]));
/// assert_eq!(criteria.alternatives().len(), 2);
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criteria {
    alternatives: Vec<Alternative>,
}

/// One alternative of [`Criteria`].
///
/// ```
/// use es_core::{Criteria, Tag};
///
/// let criteria = Criteria::tag(Tag::new("student", "ada")?);
/// assert!(criteria.alternatives()[0].types.is_empty());
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Alternative {
    /// Any of these types; empty means every type.
    pub types: Vec<Name>,
    /// All of these tags.
    pub tags: Vec<Tag>,
}

impl Criteria {
    /// Every event that bears `tag`.
    pub fn tag(tag: Tag) -> Self {
        Self { alternatives: vec![Alternative { types: Vec::new(), tags: vec![tag] }] }
    }

    /// Every event of one of these types.
    pub fn types(types: impl IntoIterator<Item = Name>) -> Self {
        let types = types.into_iter().collect();
        Self { alternatives: vec![Alternative { types, tags: Vec::new() }] }
    }

    /// Asks the last alternative for this tag too.
    #[must_use]
    pub fn and(mut self, tag: Tag) -> Self {
        if let Some(last) = self.alternatives.last_mut() {
            last.tags.push(tag);
        }
        self
    }

    /// Narrows the last alternative to one of these types.
    #[must_use]
    pub fn of_types(mut self, types: impl IntoIterator<Item = Name>) -> Self {
        if let Some(last) = self.alternatives.last_mut() {
            last.types.extend(types);
        }
        self
    }

    /// Adds the alternatives of `other`.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.alternatives.extend(other.alternatives);
        self
    }

    /// Narrows every alternative that allows all types to these.
    #[must_use]
    pub fn within_types(mut self, types: &[Name]) -> Self {
        for one in self.alternatives.iter_mut().filter(|one| one.types.is_empty()) {
            one.types.extend_from_slice(types);
        }
        self
    }

    /// The alternatives.
    pub fn alternatives(&self) -> &[Alternative] {
        &self.alternatives
    }

    /// Whether `event` meets one of the alternatives.
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        self.accept(&event.event_type, &event.tags)
    }

    /// Whether an event of this type with these tags meets one of the
    /// alternatives.
    pub fn accept(&self, event_type: &str, tags: &[Tag]) -> bool {
        self.alternatives.iter().any(|one| {
            (one.types.is_empty() || one.types.iter().any(|name| name == event_type))
                && one.tags.iter().all(|tag| tags.contains(tag))
        })
    }
}
