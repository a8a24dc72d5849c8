use std::fmt;

use crate::{Name, NewEvent, Position, Read, RecordedEvent, StreamId};

/// One request to copy: under which name, what, and what becomes of it. See
/// [`copy`](crate::copy()).
///
/// A name stands for one request with one transform, on one target: by it a run
/// knows what earlier ones have copied. Whatever changes, choose another name.
///
/// ```
/// use es_core::{Copying, Name};
///
/// let mut done = 0;
/// let rename = Name::new("bell.struck")?;
/// let copying = Copying::all(Name::new("to-postgres")?)
///     .transform(move |event| {
///         let (stream, mut event) = event.into_new();
///         event.event_type = rename.clone();
///         vec![(stream, event)]
///     })
///     .progress(|copied| done = copied.appended);
/// # drop(copying);
/// # Ok::<(), es_core::NameError>(())
/// ```
pub struct Copying<'c> {
    pub(crate) name: Name,
    pub(crate) read: Read,
    pub(crate) follows: bool,
    pub(crate) transform: Transform<'c>,
    pub(crate) progress: Box<dyn FnMut(Copied) + Send + 'c>,
}

type Transform<'c> = Box<dyn FnMut(RecordedEvent) -> Vec<(StreamId, NewEvent)> + Send + 'c>;

/// How far a copy has come.
///
/// ```
/// use es_core::{Copied, Position};
///
/// assert_eq!(Copied::default().through, Position::START);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Events read from the source.
    pub read: u64,
    /// Events appended to the target.
    pub appended: u64,
    /// Events that an earlier run had appended.
    pub known: u64,
    /// What becomes of every event of the source at or before this position is
    /// in the target.
    pub through: Position,
}

impl<'c> Copying<'c> {
    /// Copies the events of every tenant.
    pub fn all(name: Name) -> Self {
        Self::of(name, Read::all().every_tenant())
    }

    /// Copies what this request reads, which goes forwards.
    pub fn of(name: Name, read: Read) -> Self {
        Self {
            name,
            read,
            follows: false,
            transform: Box::new(|event| vec![event.into_new()]),
            progress: Box::new(|_| {}),
        }
    }

    /// Goes on where an earlier run had come to, without looking at what is
    /// before. It has to be a [`through`](Copied::through) of the same name.
    #[must_use]
    pub fn after(mut self, through: Position) -> Self {
        self.read.after = through;
        self
    }

    /// Copies each new event too, for ever: to switch over, wait until
    /// [`through`](Copied::through) is the head of a source that nobody writes to
    /// any more, and drop the copy.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.follows = true;
        self
    }

    /// Says what becomes of an event: nothing, itself, or others, in any stream
    /// of any tenant. The same event has to become the same in every run, ids
    /// included.
    #[must_use]
    pub fn transform(
        mut self,
        transform: impl FnMut(RecordedEvent) -> Vec<(StreamId, NewEvent)> + Send + 'c,
    ) -> Self {
        self.transform = Box::new(transform);
        self
    }

    /// Tells how far the copy has come, after each append.
    #[must_use]
    pub fn progress(mut self, progress: impl FnMut(Copied) + Send + 'c) -> Self {
        self.progress = Box::new(progress);
        self
    }
}

impl fmt::Debug for Copying<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copying")
            .field("name", &self.name)
            .field("read", &self.read)
            .field("follows", &self.follows)
            .finish_non_exhaustive()
    }
}
