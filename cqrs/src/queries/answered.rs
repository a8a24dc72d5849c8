//! What comes back from a query.

use std::{ops::Deref, sync::Arc, time::Duration};

use es_core::{Position, StoreError};
use thiserror::Error;

/// An answer, and how old it is at most.
///
/// ```
/// use std::sync::Arc;
/// use cqrs::{Answered, Stale};
/// use es_core::Position;
///
/// let mut answered = Answered { answer: Arc::new(50), as_of: Position::new(7), cached: true, stale: None };
/// assert_eq!(*answered, 50);
/// answered.stale = Some(Stale::Behind { positions: 2 });
/// assert!(answered.is_stale());
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// The answer, which others may hold as well.
    pub answer: Arc<T>,
    /// The answer shows every event at or before it. It may show later ones.
    pub as_of: Position,
    /// Whether it was there already when it was asked for.
    pub cached: bool,
    /// Why it is older than it should be, if it is.
    pub stale: Option<Stale>,
}

/// Why an answer is older than it should be.
///
/// ```
/// assert_ne!(cqrs::Stale::Expired, cqrs::Stale::Behind { positions: 1 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stale {
    /// Its time to live is over, or something that it was made from has changed.
    Expired,
    /// It is behind the position that was asked for.
    Behind {
        /// By so many positions.
        positions: u64,
    },
}

impl<T> Answered<T> {
    /// Whether it is older than it should be.
    pub fn is_stale(&self) -> bool {
        self.stale.is_some()
    }

    /// The same answer, marked if it is behind what was wanted.
    pub(crate) fn measured(mut self, wanted: Position) -> Self {
        let positions = wanted.get().saturating_sub(self.as_of.get());
        if positions > 0 {
            self.stale = Some(Stale::Behind { positions });
        }
        self
    }
}

impl<T> Clone for Answered<T> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), ..*self }
    }
}

impl<T> Deref for Answered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.answer
    }
}

/// Why there is no answer; the variant says what to do. All who waited for the
/// same answer get the same error.
///
/// ```
/// use cqrs::AskError;
/// use es_core::Position;
///
/// fn status(error: &AskError) -> u16 {
///     match error {
///         AskError::Refused(_) => 403,
///         AskError::Behind { .. } | AskError::TimedOut { .. } => 503,
///         _ => 500,
///     }
/// }
/// let behind = AskError::Behind { wanted: Position::new(9), as_of: Position::new(7) };
/// assert_eq!(status(&behind), 503);
/// assert_eq!(behind.to_string(), "the read models have come to position 7, and not yet to 9");
/// ```
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The read models did not come as far as was asked for, within the time:
    /// ask again, or ask for a stale answer.
    #[error("the read models have come to position {as_of}, and not yet to {wanted}")]
    Behind {
        /// What was asked for.
        wanted: Position,
        /// How far they have come.
        as_of: Position,
    },
    /// The answerer took too long: ask later.
    #[error("there was no answer within {within:?}")]
    TimedOut {
        /// How long it had.
        within: Duration,
    },
    /// A layer around the bus refused: not authorized, over the rate, too late.
    #[error("the query was refused before it reached its answerer")]
    Refused(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The answerer failed: page someone.
    #[error("the answerer of the query failed")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The answerer panicked, or was stopped before it had answered.
    #[error("the answerer of the query panicked, or was stopped")]
    Panicked,
    /// How far the read models have come is not known.
    #[error("it is not known how far the read models have come")]
    Freshness(#[source] Arc<StoreError>),
    /// Nobody was told to answer this query in this way: fix the program.
    #[error("nobody answers {query}, add its answerer where the bus is built")]
    NotAnswered {
        /// The name of the query.
        query: &'static str,
    },
    /// The query has no tags, so that nobody knows when its answer changes: add
    /// them to its settings.
    #[error("{query} has no tags to wait for, add them to its settings")]
    NoTags {
        /// The name of the query.
        query: &'static str,
    },
}

impl AskError {
    /// Which variant it is, in a word: a label for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Behind { .. } => "behind",
            Self::TimedOut { .. } => "timed_out",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Panicked => "panicked",
            Self::Freshness(_) => "freshness",
            Self::NotAnswered { .. } => "not_answered",
            Self::NoTags { .. } => "no_tags",
        }
    }
}

impl From<StoreError> for AskError {
    fn from(error: StoreError) -> Self {
        Self::Freshness(Arc::new(error))
    }
}
