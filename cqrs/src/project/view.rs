use std::hash::Hash;

use es_core::{Evolve, Recorded};
use serde::{Serialize, de::DeserializeOwned};

/// A read model: rows with a key, each row a fold of the events that bear the
/// key. Pure; it needs no SQL and runs on every store.
///
/// The runner loads the rows that a page of events touches, folds in memory,
/// and writes them back together with the checkpoint.
///
/// ```
/// use cqrs::{Event, Evolve, Keys, Projector, View};
/// use es_core::{AggregateStoreExt, Recorded, memory::{MemoryStore, MemoryViews}};
/// # use es_core::{Aggregate, Version};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "seat")]
/// enum SeatEvent { Taken { course: String } }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Course { students: u32 }
///
/// impl Evolve for Course {
///     type Event = SeatEvent;
///     fn evolve(&mut self, _: &SeatEvent) { self.students += 1; }
/// }
///
/// impl View for Course {
///     const NAME: &'static str = "courses";
///     type Key = String;
///     fn keys(seat: Recorded<'_, SeatEvent>) -> Keys<String> {
///         let SeatEvent::Taken { course } = seat.event;
///         Keys::One(course.clone())
///     }
/// }
/// # #[derive(Default, Aggregate)]
/// # struct Seat;
/// # impl Evolve for Seat { type Event = SeatEvent; fn evolve(&mut self, _: &SeatEvent) {} }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// # store.commit::<Seat>(&"1".into(), Version::NONE, &[SeatEvent::Taken { course: "rust".into() }]).await?;
/// let projector = Projector::new(store, MemoryViews::new()).view::<Course>();
/// projector.catch_up().await?;
/// let course = projector.get::<Course>(&"rust".into()).await?;
/// assert_eq!(course.map(|course| course.students), Some(1));
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a view",
    note = "write `impl View for {Self}` with its `NAME`, its `Key`, and the `keys` that an event changes"
)]
pub trait View: Evolve + Serialize + DeserializeOwned {
    /// Its name: where its rows and its checkpoint are kept.
    const NAME: &'static str;
    /// Which code it is: raise it if the fold or the row has changed so that the rows
    /// have to be built anew.
    const REVISION: u64 = 0;
    /// Whether each row is changed by the events of one stream only, so that
    /// [`rebuild_stream`](crate::Projector::rebuild_stream) needs to read no others.
    const OF_ONE_STREAM: bool = false;
    /// What tells its rows apart; written as text in the store.
    type Key: ToString + Clone + Eq + Hash + Send + Sync + 'static;

    /// The rows that the event changes.
    fn keys(event: Recorded<'_, Self::Event>) -> Keys<Self::Key>;

    /// Changes the row with this key by the event, as [`evolve`](Evolve::evolve)
    /// does unless you say otherwise: if an event means different things to
    /// different rows, if a row keeps when it changed, or if it ends.
    ///
    /// ```
    /// use cqrs::{Event, Evolve, Fate, Keys, View};
    /// use es_core::Recorded;
    /// # use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize, Event)]
    /// #[event(prefix = "money")]
    /// enum MoneyEvent { Moved { from: String, to: String, amount: i64 }, Closed { account: String } }
    ///
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct Balance { amount: i64 }
    ///
    /// impl Evolve for Balance {
    ///     type Event = MoneyEvent;
    ///     fn evolve(&mut self, _: &MoneyEvent) {}
    /// }
    ///
    /// impl View for Balance {
    ///     const NAME: &'static str = "balances";
    ///     type Key = String;
    ///     fn keys(event: Recorded<'_, MoneyEvent>) -> Keys<String> {
    ///         match event.event {
    ///             MoneyEvent::Moved { from, to, .. } => Keys::Many(vec![from.clone(), to.clone()]),
    ///             MoneyEvent::Closed { account } => Keys::One(account.clone()),
    ///         }
    ///     }
    ///     fn apply(&mut self, key: &String, event: Recorded<'_, MoneyEvent>) -> Fate {
    ///         match event.event {
    ///             MoneyEvent::Moved { from, to, amount } => {
    ///                 self.amount += if key == to { *amount } else { 0 };
    ///                 self.amount -= if key == from { *amount } else { 0 };
    ///                 Fate::Keep
    ///             }
    ///             MoneyEvent::Closed { .. } => Fate::Delete,
    ///         }
    ///     }
    /// }
    /// ```
    fn apply(&mut self, key: &Self::Key, event: Recorded<'_, Self::Event>) -> Fate {
        let _ = key;
        self.evolve(event.event);
        Fate::Keep
    }
}

/// What becomes of a row after an event.
///
/// ```
/// assert_eq!(cqrs::Fate::default(), cqrs::Fate::Keep);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fate {
    /// It is kept as it is now.
    #[default]
    Keep,
    /// It is deleted. An event that bears its key later begins a new one.
    Delete,
}

/// The rows that an event changes.
///
/// ```
/// use cqrs::Keys;
///
/// assert_eq!(Keys::from(Some("UA")), Keys::One("UA"));
/// assert_eq!(Keys::from(None::<&str>), Keys::None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys<K> {
    /// No row.
    None,
    /// One row.
    One(K),
    /// Several rows.
    Many(Vec<K>),
}

impl<K> From<Option<K>> for Keys<K> {
    fn from(key: Option<K>) -> Self {
        key.map_or(Self::None, Self::One)
    }
}
