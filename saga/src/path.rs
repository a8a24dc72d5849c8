use std::{fmt, sync::Arc};

use crate::{Step, step::Node};

/// Steps that follow each other: one after the other, beside each other, on a condition,
/// several times.
///
/// ```
/// use saga::{Path, Step, Work};
///
/// #[derive(Clone, Default)]
/// struct Trip { wants_mail: bool, paid: bool }
///
/// fn step(name: &str) -> Step<Trip> {
///     Step::new(name, |_: Work<Trip>| async { Ok(()) })
/// }
///
/// let trip = Path::new()
///     .all([Path::of(step("hotel")), Path::of(step("flight")).step(step("seat"))])
///     .step(step("charge").pivot())
///     .repeat("confirm", 3, |trip| !trip.paid, Path::of(step("ask").retriable()))
///     .when("mail", |trip| trip.wants_mail, Path::of(step("thank").retriable()));
/// ```
pub struct Path<D> {
    pub(crate) parts: Vec<Part<D>>,
}

pub(crate) type Condition<D> = Arc<dyn Fn(&D) -> bool + Send + Sync>;

pub(crate) enum Part<D> {
    Step(Node<D>),
    All(Vec<Path<D>>),
    Choice { name: String, holds: Condition<D>, then: Path<D>, otherwise: Path<D> },
    Repeat { name: String, times: usize, holds: Condition<D>, body: Path<D> },
    Nest { name: String, inner: Path<D> },
}

impl<D: Send + Sync + 'static> Path<D> {
    /// No step yet.
    pub fn new() -> Self {
        Self { parts: Vec::new() }
    }

    /// A path that begins with this step.
    pub fn of<O>(step: Step<D, O>) -> Self {
        Self::new().step(step)
    }

    /// Goes on with this step.
    #[must_use]
    pub fn step<O>(mut self, step: Step<D, O>) -> Self {
        self.parts.push(Part::Step(step.node));
        self
    }

    /// Goes on with these paths at once, and after them when all have come to their end.
    #[must_use]
    pub fn all(mut self, paths: impl IntoIterator<Item = Self>) -> Self {
        self.parts.push(Part::All(paths.into_iter().collect()));
        self
    }

    /// Takes this path if the condition holds when it is reached. What it says is recorded,
    /// and never asked again.
    #[must_use]
    pub fn when(
        self,
        name: &str,
        holds: impl Fn(&D) -> bool + Send + Sync + 'static,
        then: Self,
    ) -> Self {
        self.either(name, holds, then, Self::new())
    }

    /// Takes one of two paths.
    #[must_use]
    pub fn either(
        mut self,
        name: &str,
        holds: impl Fn(&D) -> bool + Send + Sync + 'static,
        then: Self,
        otherwise: Self,
    ) -> Self {
        let (name, holds) = (name.to_owned(), Arc::new(holds));
        self.parts.push(Part::Choice { name, holds, then, otherwise });
        self
    }

    /// Takes this path as long as the condition holds, but so many times at most. Each round
    /// has steps of its own: the second `ask` is `ask.2`.
    #[must_use]
    pub fn repeat(
        mut self,
        name: &str,
        times: usize,
        holds: impl Fn(&D) -> bool + Send + Sync + 'static,
        body: Self,
    ) -> Self {
        let (name, holds) = (name.to_owned(), Arc::new(holds));
        self.parts.push(Part::Repeat { name, times, holds, body });
        self
    }

    /// Goes on with a saga within this one, on the part of the data that is its own. Its
    /// steps become steps of this one, `NAME.STEP`: they are undone with it, and one stream
    /// tells of all.
    #[must_use]
    pub fn nest<E: Clone + Send + Sync + 'static>(
        mut self,
        name: &str,
        inner: Path<E>,
        get: fn(&D) -> &E,
        get_mut: fn(&mut D) -> &mut E,
    ) -> Self {
        let inner = inner.within(get, get_mut);
        self.parts.push(Part::Nest { name: name.to_owned(), inner });
        self
    }
}

impl<E: Clone + Send + Sync + 'static> Path<E> {
    fn within<D: Send + Sync + 'static>(
        self,
        get: fn(&D) -> &E,
        get_mut: fn(&mut D) -> &mut E,
    ) -> Path<D> {
        let path = |inner: Self| inner.within(get, get_mut);
        let condition = |holds: Condition<E>| Arc::new(move |data: &D| holds(get(data))) as _;
        let parts = self.parts.into_iter().map(|part| match part {
            Part::Step(node) => Part::Step(node.within(get, get_mut)),
            Part::All(paths) => Part::All(paths.into_iter().map(path).collect()),
            Part::Choice { name, holds, then, otherwise } => Part::Choice {
                name,
                holds: condition(holds),
                then: path(then),
                otherwise: path(otherwise),
            },
            Part::Repeat { name, times, holds, body } => {
                Part::Repeat { name, times, holds: condition(holds), body: path(body) }
            }
            Part::Nest { name, inner } => Part::Nest { name, inner: path(inner) },
        });
        Path { parts: parts.collect() }
    }
}

impl<D: Send + Sync + 'static> Default for Path<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D> fmt::Debug for Path<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}
