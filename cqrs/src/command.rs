use es_core::{Aggregate, Claim, NameError, StreamId};

/// Something that somebody wants of one aggregate.
///
/// `#[derive(Command)]` writes the implementation.
///
/// ```
/// use cqrs::Command;
/// # use cqrs::{Aggregate, Event, Evolve};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Event)]
/// # #[event(prefix = "account")]
/// # enum AccountEvent { Deposited { amount: u64 } }
/// # #[derive(Default, Aggregate)]
/// # struct Account { balance: u64 }
/// # impl Evolve for Account {
/// #     type Event = AccountEvent;
/// #     fn evolve(&mut self, AccountEvent::Deposited { amount }: &AccountEvent) { self.balance += amount; }
/// # }
///
/// #[derive(Command)]
/// #[command(aggregate = Account)]
/// struct Deposit {
///     #[id]
///     account: String,
///     amount: u64,
/// }
///
/// let deposit = Deposit { account: "ada".into(), amount: 5 };
/// assert_eq!(deposit.id(), "ada");
/// assert_eq!(Deposit::NAME, "deposit");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command",
    note = "write `#[derive(Command)] #[command(aggregate = …)]` above it, and `#[id]` at its id"
)]
pub trait Command: Send + Sync + 'static {
    /// The aggregate that decides about it.
    type Aggregate: Aggregate;
    /// Its name, for logs, metrics and layers.
    const NAME: &'static str;
    /// Whether it usually meets an aggregate that does not exist yet. It is then
    /// decided against the empty state first, without a load; if the aggregate
    /// does exist, the conflict brings its events and it is decided again.
    const CREATES: bool = false;

    /// Which aggregate.
    fn id(&self) -> &<Self::Aggregate as Aggregate>::Id;

    /// The unique values that it takes or gives up for the aggregate of this
    /// stream, together with its events.
    ///
    /// # Errors
    ///
    /// [`NameError`] if a value makes no name.
    fn claims(&self, _stream: &StreamId) -> Result<Vec<Claim>, NameError> {
        Ok(Vec::new())
    }
}

/// The decision of an aggregate about a command: the events that follow, or
/// the reason why not. Pure: no clock, no randomness, no I/O.
///
/// ```
/// use cqrs::{Aggregate, Command, Decide, Event, Evolve};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
/// #[event(prefix = "door")]
/// enum DoorEvent { Opened }
///
/// #[derive(Default, Aggregate)]
/// #[aggregate(error = &'static str)]
/// struct Door { open: bool }
///
/// impl Evolve for Door {
///     type Event = DoorEvent;
///     fn evolve(&mut self, _: &DoorEvent) { self.open = true; }
/// }
///
/// #[derive(Command)]
/// #[command(aggregate = Door)]
/// struct Open { #[id] door: String }
///
/// impl Decide<Open> for Door {
///     fn decide(&self, _: &Open) -> Result<Vec<DoorEvent>, &'static str> {
///         if self.open { Err("it is open already") } else { Ok(vec![DoorEvent::Opened]) }
///     }
/// }
///
/// let open = Open { door: "front".into() };
/// assert_eq!(Door { open: false }.decide(&open), Ok(vec![DoorEvent::Opened]));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot decide `{C}`",
    note = "write `impl Decide<{C}> for {Self}`, with the events that follow or the reason why not"
)]
pub trait Decide<C>: Aggregate {
    /// Decides.
    ///
    /// # Errors
    ///
    /// The aggregate's own reason to refuse.
    fn decide(&self, command: &C) -> Result<Vec<Self::Event>, Self::Error>;
}

/// The name of a Rust type without its path and its parameters.
pub(crate) fn short_name<T: ?Sized>() -> &'static str {
    let whole = std::any::type_name::<T>();
    let path = whole.split('<').next().unwrap_or(whole);
    path.rsplit("::").next().unwrap_or(path)
}
