//! What is left of a request.

use es_core::{Direction, Position, Read, Scope, Version};

use crate::{
    append::BLOCK,
    page::Draft,
    row::{Numbers, Rows},
};

/// The places that are left to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) after: Position,
    pub(crate) up_to: Position,
    /// Of a stream, so that each page begins in its index where the last ended.
    pub(crate) versions: Option<Versions>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) after: Version,
    pub(crate) up_to: Version,
}

impl Window {
    /// All of the request in a log that ends at `head`.
    pub(crate) fn new(read: &Read, head: Position) -> Self {
        let versions = Versions { after: read.after_version, up_to: Version::new(u64::MAX) };
        Self {
            after: read.after,
            up_to: read.up_to.map_or(head, |up_to| up_to.min(head)),
            versions: matches!(read.scope, Scope::Stream(_)).then_some(versions),
        }
    }

    pub(crate) fn is_read(self) -> bool {
        self.after >= self.up_to || self.versions.is_some_and(|left| left.after >= left.up_to)
    }

    /// Only what stands from `first` to `last`.
    pub(crate) fn within(self, first: u64, last: u64) -> Self {
        Self {
            after: self.after.max(Position::new(first.saturating_sub(1))),
            up_to: self.up_to.min(Position::new(last)),
            ..self
        }
    }

    /// Nothing is left.
    pub(crate) fn emptied(self) -> Self {
        Self { after: self.up_to, ..self }
    }

    /// Without what stands before this block, in the direction.
    pub(crate) fn narrowed(self, direction: Direction, block: u64) -> Self {
        let (first, last) = (block * BLOCK, block * BLOCK + BLOCK - 1);
        match direction {
            Direction::Forwards => self.within(first, u64::MAX),
            Direction::Backwards => self.within(0, last),
        }
    }

    /// The page of all that was left, and nothing behind it.
    pub(crate) fn last_page(self, rows: Rows) -> (Draft, Self) {
        (Draft { rows, through: self.up_to }, self.emptied())
    }

    /// The page that ends at the row `last`, and the window behind it.
    pub(crate) fn page(self, direction: Direction, rows: Rows, last: Numbers) -> (Draft, Self) {
        let mut left = self;
        match direction {
            Direction::Forwards => {
                left.after = last.position;
                left.versions = self
                    .versions
                    .map(|left| Versions { after: left.after.max(last.version), ..left });
            }
            Direction::Backwards => {
                let before = |number: u64| number.saturating_sub(1);
                left.up_to = Position::new(before(last.position.get()));
                let up_to = Version::new(before(last.version.get()));
                left.versions = self.versions.map(|left| Versions { up_to, ..left });
            }
        }
        (Draft { rows, through: left.after }, left)
    }
}
