use es_core::{AppendError, EncodeError, LoadError, NameError, StoreError, StoreErrorKind};
use thiserror::Error;

use crate::{SagaId, graph::NODES};

/// Why a graph of steps is none that can be run.
///
/// ```
/// use saga::{Definition, DefinitionError, Path};
///
/// let empty = Definition::<()>::new("trip", 1, Path::new());
/// assert!(matches!(empty, Err(DefinitionError::Empty)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// There is no step.
    #[error("the saga has no step")]
    Empty,
    /// Two steps or conditions have one name.
    #[error("two steps or conditions are called {name}: give one of them another name")]
    NameTwice {
        /// Their name.
        name: String,
    },
    /// There are too many steps.
    #[error("the saga has more than {NODES} steps and conditions, with the rounds of its loops")]
    TooManySteps,
    /// What can be compensated follows the pivot.
    #[error(
        "{step} can be compensated and follows the pivot {pivot}, after which nothing is \
         undone: put it before, or make it retriable"
    )]
    AfterPivot {
        /// The step.
        step: String,
        /// The pivot.
        pivot: String,
    },
    /// What can be compensated runs beside the pivot.
    #[error(
        "{step} runs beside the pivot {pivot}, and could fail when nothing is undone any more: \
         put it before, or make it retriable"
    )]
    BesidePivot {
        /// The step.
        step: String,
        /// The pivot.
        pivot: String,
    },
    /// There are two pivots on one way.
    #[error("{first} and {second} are pivots, and a run may come to both")]
    SecondPivot {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A name cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Why something could not be done with a saga.
///
/// ```
/// use saga::{SagaError, SagaId};
///
/// let missing = SagaError::Missing { saga: SagaId::new("trip", 42)? };
/// assert_eq!(missing.to_string(), "there is no saga trip-42");
/// # Ok::<(), saga::NameError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SagaError {
    /// There is no such saga.
    #[error("there is no saga {saga}")]
    Missing {
        /// Which.
        saga: SagaId,
    },
    /// Nobody has said how it goes on.
    #[error(
        "nobody has registered version {version} of the saga {definition}: register it, or \
         migrate its sagas to another one"
    )]
    UnknownDefinition {
        /// Its name.
        definition: String,
        /// Its version; 0 if none was asked for.
        version: u32,
    },
    /// There are sagas that this program cannot go on with.
    #[error(
        "{} sagas are under way by definitions that nobody has registered, among them {}: \
         register those versions, or migrate the sagas", sagas.len(), first(sagas)
    )]
    LeftBehind {
        /// Which, with their versions.
        sagas: Vec<(SagaId, u32)>,
    },
    /// This process goes on with them already.
    #[error("these sagas are started already")]
    Started,
    /// Two definitions have one name and version.
    #[error("version {version} of the saga {definition} is registered twice")]
    RegisteredTwice {
        /// Its name.
        definition: String,
        /// Its version.
        version: u32,
    },
    /// It is in no state in which that can be done.
    #[error("{saga} cannot be operated on so: {why}")]
    Refused {
        /// Which saga.
        saga: SagaId,
        /// Why not.
        why: String,
    },
    /// Data, or an output, are not of the type that the definition wants.
    #[error("the data of {saga} are not of the type that its definition wants: {what}")]
    Data {
        /// Which saga.
        saga: SagaId,
        /// Which data.
        what: String,
        /// What serde says.
        source: serde_json::Error,
    },
    /// A command cannot be written or read.
    #[error("a command or an event of {stream} cannot be written or read as JSON")]
    Command {
        /// Whose.
        stream: es_core::StreamId,
        /// What serde says.
        source: serde_json::Error,
    },
    /// Others were always faster.
    #[error("{saga} was changed by others each time, try again")]
    Contended {
        /// Which saga.
        saga: SagaId,
    },
    /// The events of the saga cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store has not taken an append.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// An event cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A name cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl SagaError {
    /// Whether the same may be possible in a moment.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Contended { .. } => true,
            Self::Store(error) | Self::Append(AppendError::Store(error)) => error.is_transient(),
            Self::Load(LoadError::Store(error)) => error.is_transient(),
            _ => false,
        }
    }

    pub(crate) fn is_invalid(&self) -> bool {
        match self {
            Self::Append(AppendError::Invalid(_)) => true,
            Self::Append(AppendError::Store(error)) => error.kind() == StoreErrorKind::Invalid,
            _ => false,
        }
    }
}

fn first(sagas: &[(SagaId, u32)]) -> String {
    let few = sagas.iter().take(5).map(|(saga, version)| format!("{saga} (version {version})"));
    few.collect::<Vec<_>>().join(", ")
}
