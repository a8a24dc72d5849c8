use std::{fmt, time::Duration};

use es_core::Event;

use crate::Received;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Handles one message after the other; a function of a [`Received`] does.
///
/// A message may come more than once: after a crash, or if the broker did not learn that it
/// was handled. Its [id](es_core::Message::id) tells.
///
/// ```
/// use es_bus::{Handle, HandleError, Received};
/// use es_core::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "order.placed")]
/// struct OrderPlaced { order: u64 }
///
/// struct Billing;
///
/// impl Handle<OrderPlaced> for Billing {
///     async fn handle(&self, placed: Received<OrderPlaced>) -> Result<(), HandleError> {
///         match placed.event.order {
///             0 => Err(HandleError::permanent("there is no order 0")),
///             _ => Ok(()),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle `{E}`",
    note = "write `impl Handle<{E}> for {Self}`, or a function of a `Received<{E}>` that returns \
            a future of `Result<(), HandleError>`"
)]
pub trait Handle<E>: Send + Sync + 'static {
    /// Handles one message.
    fn handle(&self, received: Received<E>)
    -> impl Future<Output = Result<(), HandleError>> + Send;
}

impl<E, F, R> Handle<E> for F
where
    F: Fn(Received<E>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), HandleError>> + Send,
{
    fn handle(
        &self,
        received: Received<E>,
    ) -> impl Future<Output = Result<(), HandleError>> + Send {
        self(received)
    }
}

/// Handles several messages at once.
///
/// Each has an answer of its own; one that fails is tried again, maybe with others.
///
/// ```
/// use es_bus::{HandleBatch, HandleError, Received};
/// use es_core::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "order.placed")]
/// struct OrderPlaced { order: u64 }
///
/// struct Billing;
///
/// impl HandleBatch<OrderPlaced> for Billing {
///     async fn handle(&self, placed: &[Received<OrderPlaced>]) -> Vec<Result<(), HandleError>> {
///         placed.iter().map(|_| Ok(())).collect()
///     }
/// }
/// ```
pub trait HandleBatch<E: Event>: Send + Sync + 'static {
    /// Handles the messages, and says what became of each, in their order. If it says less,
    /// the others are tried again.
    fn handle(
        &self,
        received: &[Received<E>],
    ) -> impl Future<Output = Vec<Result<(), HandleError>>> + Send;
}

/// Why a message was not handled, classed by what that means for the next try. Any error
/// becomes a transient one with `?`.
///
/// ```
/// use es_bus::HandleError;
///
/// fn charge(amount: &str) -> Result<u64, HandleError> {
///     Ok(amount.parse()?)
/// }
/// assert!(matches!(charge("seven"), Err(HandleError::Transient(_))));
/// assert_eq!(HandleError::permanent("no such order").to_string(), "no such order");
/// ```
#[non_exhaustive]
pub enum HandleError {
    /// It may go better another time: it is tried again, up to the
    /// [policy](crate::RetryPolicy), and then it is a dead letter.
    Transient(BoxError),
    /// It never will: it is a dead letter at once.
    Permanent(BoxError),
    /// Whoever was asked wants to be left alone for so long: the message is tried again
    /// after that, however often this happens.
    Throttled {
        /// For how long.
        after: Duration,
        /// What it said.
        source: BoxError,
    },
}

impl HandleError {
    /// It may go better another time.
    pub fn transient(source: impl Into<BoxError>) -> Self {
        Self::Transient(source.into())
    }

    /// It never will.
    pub fn permanent(source: impl Into<BoxError>) -> Self {
        Self::Permanent(source.into())
    }

    /// Whoever was asked wants to be left alone for so long.
    pub fn throttled(after: Duration, source: impl Into<BoxError>) -> Self {
        Self::Throttled { after, source: source.into() }
    }

    fn source(&self) -> &BoxError {
        match self {
            Self::Transient(source) | Self::Permanent(source) | Self::Throttled { source, .. } => {
                source
            }
        }
    }
}

// It is no `Error` itself, because then not every error could become one.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for HandleError {
    fn from(error: E) -> Self {
        Self::Transient(Box::new(error))
    }
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source())?;
        let mut deeper = self.source().source();
        while let Some(source) = deeper {
            write!(f, ": {source}")?;
            deeper = source.source();
        }
        Ok(())
    }
}

impl fmt::Debug for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient(source) => f.debug_tuple("Transient").field(source).finish(),
            Self::Permanent(source) => f.debug_tuple("Permanent").field(source).finish(),
            Self::Throttled { after, source } => {
                f.debug_tuple("Throttled").field(after).field(source).finish()
            }
        }
    }
}
