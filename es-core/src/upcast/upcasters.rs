use std::{error::Error, fmt, sync::Arc};

use serde_json::Value;

use crate::Name;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// A type of event at one version of its schema.
pub(super) type Key = (Name, u32);

/// Rules that turn old events into new ones, to be given to
/// [`Upcasting`](crate::Upcasting).
///
/// A rule stands at one type of event and one version of its schema. It sees
/// the payload as a JSON value, whichever codec wrote it, and what it returns
/// is looked up again until no rule is left; versions that no rule names pass
/// unchanged. Rules are pure: they run on each read.
///
/// ```
/// use es_core::{Name, Upcast, Upcasters};
/// use serde_json::json;
///
/// let opened = Name::from_static("account.opened");
/// let deposited = Name::from_static("account.deposited");
/// let upcasters = Upcasters::new()
///     .one_to_one(deposited.clone(), 1, |mut data| {
///         data["currency"] = json!("EUR");
///         Ok(data)
///     })
///     .one_to_many(opened.clone(), 1, [(opened.clone(), 2), (deposited.clone(), 2)], move |data| {
///         let owner = json!({ "owner": data["owner"] });
///         let first = json!({ "amount": data["first_deposit"], "currency": "EUR" });
///         let deposited = Upcast::new(deposited.clone(), 2, first);
///         Ok(vec![Upcast::new(opened.clone(), 2, owner), deposited])
///     })
///     .dropping(Name::from_static("account.viewed"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Upcasters {
    pub(super) rules: Vec<(Name, Option<u32>, Rule)>,
    pub(super) runs: Vec<Run>,
}

/// What a rule makes of an event; its place in the log, its id, its tags and
/// its metadata stay.
///
/// ```
/// use es_core::{Name, Upcast};
///
/// let upcast = Upcast::new(Name::from_static("account.opened"), 2, serde_json::json!({}));
/// assert_eq!(upcast.schema_version, 2);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Upcast {
    /// The wire name of the type.
    pub event_type: Name,
    /// The version of the schema of the data.
    pub schema_version: u32,
    /// The payload.
    pub data: Value,
}

impl Upcast {
    /// An event of this type and schema version.
    pub fn new(event_type: Name, schema_version: u32, data: Value) -> Self {
        Self { event_type, schema_version, data }
    }
}

impl Upcasters {
    /// No rule yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lifts `event_type` from version `from` to the next.
    #[must_use]
    pub fn one_to_one<F>(self, event_type: Name, from: u32, lift: F) -> Self
    where
        F: Fn(Value) -> Result<Value, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    {
        self.rule(event_type, Some(from), Rule::Lift(Arc::new(lift)))
    }

    /// Splits `event_type` at version `from` into events of the types and
    /// versions in `outputs`, in the order in which `split` returns them; none
    /// is the same as [`dropping`](Self::dropping) it.
    ///
    /// They share the position, the version and the id of the recorded event.
    #[must_use]
    pub fn one_to_many<F>(
        self,
        event_type: Name,
        from: u32,
        outputs: impl IntoIterator<Item = (Name, u32)>,
        split: F,
    ) -> Self
    where
        F: Fn(Value) -> Result<Vec<Upcast>, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    {
        let outputs = outputs.into_iter().collect();
        self.rule(event_type, Some(from), Rule::Split { outputs, split: Arc::new(split) })
    }

    /// Joins a run of events into one of the type and version `output`, at the
    /// place of the last; the others are dropped.
    ///
    /// A run is the `members` in this order, directly behind one another in one
    /// stream, as they were recorded or as one-to-one rules left them. What is
    /// no complete run passes unchanged, so an event whose run is completed
    /// later reads differently from then on: join types that nobody writes any
    /// more.
    #[must_use]
    pub fn many_to_one<F>(
        mut self,
        members: impl IntoIterator<Item = (Name, u32)>,
        output: (Name, u32),
        join: F,
    ) -> Self
    where
        F: Fn(Vec<Value>) -> Result<Upcast, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    {
        let members: Vec<Key> = members.into_iter().collect();
        let run = self.runs.len();
        for (index, (event_type, version)) in members.iter().cloned().enumerate() {
            self = self.rule(event_type, Some(version), Rule::Member { run, index });
        }
        self.runs.push(Run { members, output, join: Arc::new(join) });
        self
    }

    /// Drops every event of `event_type`, whatever its version: a
    /// [`DROPPED`](crate::DROPPED) marker takes its place.
    #[must_use]
    pub fn dropping(self, event_type: Name) -> Self {
        self.rule(event_type, None, Rule::Drop)
    }

    fn rule(mut self, event_type: Name, version: Option<u32>, rule: Rule) -> Self {
        self.rules.push((event_type, version, rule));
        self
    }
}

/// What to do with one type of event at one version.
#[derive(Clone)]
pub(super) enum Rule {
    Lift(Arc<dyn Fn(Value) -> Result<Value, BoxError> + Send + Sync>),
    Split { outputs: Vec<Key>, split: Arc<Split> },
    Member { run: usize, index: usize },
    Drop,
}

type Split = dyn Fn(Value) -> Result<Vec<Upcast>, BoxError> + Send + Sync;

/// Several events that become one.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) members: Vec<Key>,
    pub(super) output: Key,
    pub(super) join: Arc<dyn Fn(Vec<Value>) -> Result<Upcast, BoxError> + Send + Sync>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lift(_) => f.write_str("Lift"),
            Self::Split { outputs, .. } => f.debug_tuple("Split").field(outputs).finish(),
            Self::Member { run, index } => f.debug_tuple("Member").field(run).field(index).finish(),
            Self::Drop => f.write_str("Drop"),
        }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Run").field(&self.members).field(&self.output).finish()
    }
}
