use std::{fmt, sync::Arc, time::Duration};

use es_core::RetryPolicy;
use futures_util::{FutureExt, TryFutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    DefinitionError, Path, Probe, StepError, Way, Work,
    graph::{Graph, Runs, lay_out},
    id::check_word,
    step::Node,
};

/// A versioned graph of steps over data of the type `D`.
///
/// A saga is pinned to the version by which it began: keep a version registered as long as
/// sagas are under way by it, or [migrate](crate::Sagas::migrate) them.
///
/// ```
/// use saga::{Definition, Path, Step, Work};
/// use std::time::Duration;
///
/// let hello = Step::new("hello", |work: Work<String>| async move {
///     println!("hello, {}", work.data);
///     Ok(())
/// });
/// let greeting = Definition::new("greeting", 1, Path::of(hello))?
///     .within(Duration::from_secs(60));
/// assert_eq!(greeting.name(), "greeting");
/// # Ok::<(), saga::DefinitionError>(())
/// ```
pub struct Definition<D> {
    name: String,
    version: u32,
    graph: Graph,
    runs: Vec<Runs<D>>,
    deadline: Option<Duration>,
}

impl<D: Send + Sync + 'static> Definition<D> {
    /// The version `version` of the saga `name`, which takes this path.
    ///
    /// # Errors
    ///
    /// [`DefinitionError`] if the graph is empty or too large, a name is used twice, or
    /// something that can be compensated stands behind or beside the pivot.
    pub fn new(name: &str, version: u32, path: Path<D>) -> Result<Self, DefinitionError> {
        check_word(name)?;
        let (graph, runs) = lay_out(path)?;
        Ok(Self { name: name.to_owned(), version, graph, runs, deadline: None })
    }

    /// Sets how long a saga has to come to its end; then what it has done is undone, unless
    /// its pivot has begun.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The names of its steps, each behind those that it follows.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.graph.steps().map(|(_, place, _)| place.name.as_str())
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    fn node(&self, at: usize) -> Option<&Node<D>> {
        match self.runs.get(at) {
            Some(Runs::Step(node)) => Some(node),
            _ => None,
        }
    }

    /// The same definition, with another way to run its steps.
    pub(crate) fn map_steps(mut self, map: impl Fn(Node<D>) -> Node<D>) -> Self {
        let runs = self.runs.into_iter().map(|run| match run {
            Runs::Step(node) => Runs::Step(Box::new(map(*node))),
            choice @ Runs::Choice(_) => choice,
        });
        self.runs = runs.collect();
        self
    }
}

impl<D> fmt::Debug for Definition<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A definition whose type of data is forgotten.
pub(crate) trait AnyDefinition: Send + Sync {
    fn name(&self) -> &str;
    fn version(&self) -> u32;
    fn graph(&self) -> &Graph;
    fn deadline(&self) -> Option<Duration>;
    fn limits(&self, at: usize, way: Way) -> Limits;
    fn open(self: Arc<Self>, data: &Value) -> Result<Box<dyn Held>, serde_json::Error>;
}

/// How often and how long a step may be tried.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Option<Duration>,
    pub(crate) waits: Option<Duration>,
}

/// The data of one saga, their type forgotten.
pub(crate) trait Held: Send + Sync {
    /// Adds what a step has brought; what cannot be read changes nothing.
    fn extend(&mut self, at: usize, output: &Value) -> Result<(), serde_json::Error>;
    /// Whether [`extend`](Self::extend) would take it.
    fn takes(&self, at: usize, output: &Value) -> Result<(), serde_json::Error>;
    /// Whether the condition holds; an error if it panics.
    fn holds(&self, at: usize) -> Result<bool, serde_json::Error>;
    fn run(&self, at: usize, way: Way, work: Work<()>) -> Start<Value>;
    fn probe(&self, at: usize, work: Work<()>) -> Option<Start<Probe<Value>>>;
    fn to_json(&self) -> Result<Value, serde_json::Error>;
}

/// Starts a try.
pub(crate) type Start<T> = Box<dyn Fn() -> BoxFuture<'static, Result<T, StepError>> + Send + Sync>;

struct Data<D> {
    data: Arc<D>,
    definition: Arc<Definition<D>>,
}

impl<D> AnyDefinition for Definition<D>
where
    D: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    fn limits(&self, at: usize, way: Way) -> Limits {
        let Some(node) = self.node(at) else { return Limits::default() };
        match way {
            Way::Forward => Limits { retry: node.retry, timeout: node.timeout, waits: node.waits },
            Way::Back => Limits { retry: node.undo_retry, timeout: node.timeout, waits: None },
        }
    }

    fn open(self: Arc<Self>, data: &Value) -> Result<Box<dyn Held>, serde_json::Error> {
        let data = Arc::new(D::deserialize(data)?);
        Ok(Box::new(Data { data, definition: self }))
    }
}

impl<D> Held for Data<D>
where
    D: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    fn extend(&mut self, at: usize, output: &Value) -> Result<(), serde_json::Error> {
        let Some(node) = self.definition.node(at) else { return Ok(()) };
        let mut extended = D::clone(&self.data);
        unpanicking(|| (node.extend)(&mut extended, output))??;
        self.data = Arc::new(extended);
        Ok(())
    }

    fn takes(&self, at: usize, output: &Value) -> Result<(), serde_json::Error> {
        let Some(node) = self.definition.node(at) else { return Ok(()) };
        unpanicking(|| (node.extend)(&mut D::clone(&self.data), output))?
    }

    fn holds(&self, at: usize) -> Result<bool, serde_json::Error> {
        match self.definition.runs.get(at) {
            Some(Runs::Choice(holds)) => unpanicking(|| holds(&self.data)),
            _ => Ok(false),
        }
    }

    fn run(&self, at: usize, way: Way, work: Work<()>) -> Start<Value> {
        let work = work.with_data(Arc::clone(&self.data));
        match (self.definition.node(at), way) {
            (Some(node), Way::Forward) => {
                let run = Arc::clone(&node.run);
                Box::new(move || run(work.clone()))
            }
            (Some(Node { undo: Some(undo), .. }), Way::Back) => {
                let undo = Arc::clone(undo);
                Box::new(move || undo(work.clone()).map_ok(|()| Value::Null).boxed())
            }
            _ => Box::new(|| async { Ok(Value::Null) }.boxed()),
        }
    }

    fn probe(&self, at: usize, work: Work<()>) -> Option<Start<Probe<Value>>> {
        let probe = Arc::clone(self.definition.node(at)?.probe.as_ref()?);
        let work = work.with_data(Arc::clone(&self.data));
        Some(Box::new(move || probe(work.clone())))
    }

    fn to_json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.data)
    }
}

/// What this returns; a panic is an error.
fn unpanicking<T>(run: impl FnOnce() -> T) -> Result<T, serde_json::Error> {
    let run = std::panic::AssertUnwindSafe(run);
    std::panic::catch_unwind(run).map_err(|_| serde::ser::Error::custom("it panicked"))
}
