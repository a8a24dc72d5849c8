use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use es_core::{AppendId, Metadata, RetryPolicy};
use futures_util::{FutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::SagaId;

/// What a step knows when it is tried.
///
/// ```
/// use saga::{Step, StepError, Work};
///
/// async fn book(work: Work<String>) -> Result<u32, StepError> {
///     println!("{}: a room for {}, with key {}", work.saga, work.data, work.key);
///     Ok(7)
/// }
/// let hotel = Step::new("hotel", book);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Work<D> {
    /// The data of the saga as they are now.
    pub data: Arc<D>,
    /// Which saga it is.
    pub saga: SagaId,
    /// Which step.
    pub step: Arc<str>,
    /// The idempotency key: the same for each try, and another one for the compensation. It
    /// can be the id of a command.
    pub key: AppendId,
    /// The key that the step itself was done with: by it a compensation finds what to undo.
    pub action_key: AppendId,
    /// The how manieth try it is, from 1.
    pub attempt: u32,
    /// What the saga was begun with, for what is sent on: correlation, user, trace.
    pub metadata: Metadata,
}

impl<D> Clone for Work<D> {
    fn clone(&self) -> Self {
        Self {
            data: Arc::clone(&self.data),
            saga: self.saga.clone(),
            step: Arc::clone(&self.step),
            key: self.key,
            action_key: self.action_key,
            attempt: self.attempt,
            metadata: self.metadata.clone(),
        }
    }
}

impl<D> Work<D> {
    pub(crate) fn with_data<E>(self, data: Arc<E>) -> Work<E> {
        let Self { saga, step, key, action_key, attempt, metadata, .. } = self;
        Work { data, saga, step, key, action_key, attempt, metadata }
    }
}

/// Why a step could not be done.
///
/// Any other error turns into [`Failed`](Self::Failed) with `?`.
///
/// ```
/// use saga::StepError;
///
/// let refused = StepError::refused("no room is free");
/// assert_eq!(refused.to_string(), "no room is free");
/// let failed: StepError = std::io::Error::other("no answer").into();
/// assert!(matches!(failed, StepError::Failed(_)));
/// ```
#[derive(Debug)]
pub enum StepError {
    /// It was refused: no try with this key has had an effect, and another one would be refused
    /// too.
    Refused(String),
    /// It failed, and may have happened all the same. It is tried again.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl StepError {
    /// It was refused: no try with this key has had an effect, and another one would be refused
    /// too.
    pub fn refused(reason: impl fmt::Display) -> Self {
        Self::Refused(reason.to_string())
    }

    /// It failed, and may have happened all the same.
    pub fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => f.write_str(reason),
            Self::Failed(error) => {
                write!(f, "{error}")?;
                let mut source = error.source();
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// What the other side says of a step of which nobody knows whether it has happened.
///
/// ```
/// assert_ne!(saga::Probe::Happened(7), saga::Probe::Absent);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe<O> {
    /// It has, and has brought this.
    Happened(O),
    /// It has not, and will not.
    Absent,
    /// It does not know.
    Unknown,
}

/// What becomes of the others if a step fails, and what becomes of it if they do.
///
/// ```
/// assert_ne!(saga::Kind::Pivot, saga::Kind::Retriable);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is undone if a later one fails.
    Compensatable,
    /// Once it is done, the saga goes forward only.
    Pivot,
    /// It follows the pivot, and succeeds in the end.
    Retriable,
}

type Run<D> = Arc<dyn Fn(Work<D>) -> BoxFuture<'static, Result<Value, StepError>> + Send + Sync>;
type Undo<D> = Arc<dyn Fn(Work<D>) -> BoxFuture<'static, Result<(), StepError>> + Send + Sync>;
type Ask<D> =
    Arc<dyn Fn(Work<D>) -> BoxFuture<'static, Result<Probe<Value>, StepError>> + Send + Sync>;
type Extend<D> = Arc<dyn Fn(&mut D, &Value) -> Result<(), serde_json::Error> + Send + Sync>;

/// One step of a saga: what it does, how that is undone, how often it is tried.
///
/// Unless it says otherwise it can be compensated, is tried
/// [five times](RetryPolicy::default), and its compensation ten times. A step without a
/// compensation has nothing to undo.
///
/// ```
/// use saga::{Probe, RetryPolicy, Step, StepError, Work};
/// use std::time::Duration;
///
/// #[derive(Clone, Default)]
/// struct Trip { city: String, room: Option<u32> }
///
/// let hotel = Step::new("hotel", async |work: Work<Trip>| {
///         println!("a room in {}", work.data.city);
///         Ok(7)
///     })
///     .extend(|trip, room| trip.room = Some(room))
///     .compensate(async |work| {
///         println!("no room for {}", work.action_key);
///         Ok(())
///     })
///     .probe(async |_| Ok(Probe::Unknown))
///     .retry(RetryPolicy::new(3))
///     .timeout(Duration::from_secs(5));
/// ```
pub struct Step<D, O = ()> {
    pub(crate) node: Node<D>,
    output: PhantomData<fn() -> O>,
}

/// A step whose output is but JSON.
pub(crate) struct Node<D> {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) waits: Option<Duration>,
    pub(crate) retry: RetryPolicy,
    pub(crate) undo_retry: RetryPolicy,
    pub(crate) timeout: Option<Duration>,
    pub(crate) run: Run<D>,
    pub(crate) undo: Option<Undo<D>>,
    pub(crate) probe: Option<Ask<D>>,
    pub(crate) extend: Extend<D>,
}

impl<D, O> Step<D, O>
where
    D: Send + Sync + 'static,
    O: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// A step that is done once `action` has returned.
    pub fn new<F>(name: &str, action: impl Fn(Work<D>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<O, StepError>> + Send + 'static,
    {
        Self::running(name, move |work| {
            let running = action(work);
            async move { Ok(serde_json::to_value(running.await?)?) }.boxed()
        })
    }

    /// A step that is done once its [answer](crate::Sagas::answer) has come: `action` asks for
    /// it, as by a message. An answer that has not come after this long is a failed try.
    pub fn ask<F>(
        name: &str,
        wait: Duration,
        action: impl Fn(Work<D>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), StepError>> + Send + 'static,
    {
        let mut step = Self::running(name, move |work| {
            let asking = action(work);
            async move { asking.await.map(|()| Value::Null) }.boxed()
        });
        step.node.waits = Some(wait);
        step
    }

    fn running(
        name: &str,
        run: impl Fn(Work<D>) -> BoxFuture<'static, Result<Value, StepError>> + Send + Sync + 'static,
    ) -> Self {
        let node = Node {
            name: name.to_owned(),
            kind: Kind::Compensatable,
            waits: None,
            retry: RetryPolicy::default(),
            undo_retry: RetryPolicy::new(10),
            timeout: None,
            run: Arc::new(run),
            undo: None,
            probe: None,
            extend: Arc::new(|_, output| O::deserialize(output).map(drop)),
        };
        Self { node, output: PhantomData }
    }

    /// Adds what the step has brought to the data of the saga. It is pure: it runs each time
    /// the saga is read from its stream.
    #[must_use]
    pub fn extend(mut self, extend: impl Fn(&mut D, O) + Send + Sync + 'static) -> Self {
        self.node.extend = Arc::new(move |data, output| {
            extend(data, O::deserialize(output)?);
            Ok(())
        });
        self
    }

    /// Sets how it is undone. That happens once it is done, and also if it **may** have
    /// happened: what there is to undo is found by [`Work::action_key`]. It may run several
    /// times, with the same key.
    #[must_use]
    pub fn compensate<F>(mut self, undo: impl Fn(Work<D>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), StepError>> + Send + 'static,
    {
        self.node.undo = Some(Arc::new(move |work| undo(work).boxed()));
        self
    }

    /// Sets how the other side is asked whether a try whose outcome nobody knows has
    /// happened: before the next one, and after the last.
    #[must_use]
    pub fn probe<F>(mut self, probe: impl Fn(Work<D>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Probe<O>, StepError>> + Send + 'static,
    {
        self.node.probe = Some(Arc::new(move |work| {
            let probing = probe(work);
            let untyped = async move {
                Ok(match probing.await? {
                    Probe::Happened(output) => Probe::Happened(serde_json::to_value(output)?),
                    Probe::Absent => Probe::Absent,
                    Probe::Unknown => Probe::Unknown,
                })
            };
            untyped.boxed()
        }));
        self
    }
}

impl<D, O> Step<D, O> {
    /// Makes it the point of no return: before it all can be undone, after it the saga goes
    /// forward only.
    #[must_use]
    pub fn pivot(mut self) -> Self {
        self.node.kind = Kind::Pivot;
        self
    }

    /// Says that it succeeds in the end, so that it may follow the pivot. If its tries are
    /// used up the saga is suspended.
    #[must_use]
    pub fn retriable(mut self) -> Self {
        self.node.kind = Kind::Retriable;
        self
    }

    /// Sets how often it is tried.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.node.retry = policy;
        self
    }

    /// Sets how often its compensation is tried; then the saga is suspended.
    #[must_use]
    pub fn retry_compensation(mut self, policy: RetryPolicy) -> Self {
        self.node.undo_retry = policy;
        self
    }

    /// Sets how long one try may take, of the step and of its compensation. Without, it takes
    /// as long as it takes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.node.timeout = Some(timeout);
        self
    }
}

impl<D, O> fmt::Debug for Step<D, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("name", &self.node.name)
            .field("kind", &self.node.kind)
            .finish_non_exhaustive()
    }
}

impl<D> Clone for Node<D> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            kind: self.kind,
            waits: self.waits,
            retry: self.retry,
            undo_retry: self.undo_retry,
            timeout: self.timeout,
            run: Arc::clone(&self.run),
            undo: self.undo.clone(),
            probe: self.probe.clone(),
            extend: Arc::clone(&self.extend),
        }
    }
}

impl<E: Clone + Send + Sync + 'static> Node<E> {
    /// The same step of a saga whose data hold what this one's are.
    pub(crate) fn within<D: Send + Sync + 'static>(
        self,
        get: fn(&D) -> &E,
        get_mut: fn(&mut D) -> &mut E,
    ) -> Node<D> {
        let inner = move |work: Work<D>| {
            let data = Arc::new(get(&work.data).clone());
            work.with_data(data)
        };
        let Self { name, kind, waits, retry, undo_retry, timeout, run, undo, probe, extend } = self;
        Node {
            name,
            kind,
            waits,
            retry,
            undo_retry,
            timeout,
            run: Arc::new(move |work| run(inner(work))),
            undo: undo.map(|undo| Arc::new(move |work| undo(inner(work))) as Undo<D>),
            probe: probe.map(|probe| Arc::new(move |work| probe(inner(work))) as Ask<D>),
            extend: Arc::new(move |data, output| extend(get_mut(data), output)),
        }
    }
}
