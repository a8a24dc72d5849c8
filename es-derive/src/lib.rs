//! The derives of Gesta: they write what is the same in every program.
//!
//! | derive | writes | on |
//! |---|---|---|
//! | [`Event`](macro@Event) | `es_core::Event` | an enum with a variant for each type of event, or a struct for one |
//! | [`Aggregate`](macro@Aggregate) | `es_core::Aggregate` | the state that decisions look at |
//! | [`Command`](macro@Command) | `cqrs::Command` | one struct for each command |
//! | [`Query`](macro@Query) | `cqrs::Query` | one type for each question |
//!
//! A program does not depend on this crate: `gesta`, `es-core` and
//! `gesta-cqrs` hand the derives on, beside the traits of the same names.
//!
//! ```
//! use cqrs::Command;
//! use es_core::{Aggregate, Event, Evolve};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Event)]
//! #[event(prefix = "account")]
//! enum AccountEvent { Deposited { amount: u64 } }
//!
//! #[derive(Default, Aggregate)]
//! struct Account { balance: u64 }
//!
//! impl Evolve for Account {
//!     type Event = AccountEvent;
//!     fn evolve(&mut self, AccountEvent::Deposited { amount }: &AccountEvent) {
//!         self.balance += amount;
//!     }
//! }
//!
//! #[derive(Command)]
//! struct Deposit { #[id(Account)] account: String, amount: u64 }
//!
//! assert_eq!(AccountEvent::TYPES[0].name, "account.deposited");
//! assert_eq!(Account::CATEGORY, "account");
//! assert_eq!(Deposit::NAME, "deposit");
//! ```
//!
//! # Where the generated code looks for the traits
//!
//! In `gesta` if the program depends on it, else in `es-core` (events and
//! aggregates) or `gesta-cqrs` (commands and queries); a dependency may be
//! renamed. Each derive takes `crate = "path"`, which overrules that:
//!
//! ```
//! mod log { pub use es_core::*; }
//!
//! #[derive(serde::Serialize, serde::Deserialize, es_core::Event)]
//! #[event(name = "bell.rung", crate = "crate::log")]
//! struct Rung;
//! # fn main() {}
//! ```

mod aggregate;
mod command;
mod errors;
mod event;
mod fingerprint;
mod generics;
mod items;
mod keys;
mod names;
mod query;
mod root;

use proc_macro::TokenStream;

/// Writes `es_core::Event` for an enum or a struct that also derives serde's
/// `Serialize` and `Deserialize`.
///
/// ```
/// use es_core::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "course")]
/// enum CourseEvent {
///     Announced { title: String },
///     #[event(version = 2, alias = "course.joined")]
///     StudentEnrolled {
///         #[tag]
///         course: String,
///         #[tag(key = "person")]
///         student: Option<u32>,
///     },
///     #[event(name = "course.over")]
///     Closed,
/// }
///
/// let names: Vec<_> = CourseEvent::TYPES.iter().map(|known| known.name).collect();
/// assert_eq!(names, ["course.announced", "course.student_enrolled", "course.over"]);
/// assert_eq!(CourseEvent::TYPES[1].version, 2);
/// assert_eq!(CourseEvent::index_of("course.joined"), Some(1));
///
/// let enrolled = CourseEvent::StudentEnrolled { course: "rust-101".into(), student: Some(7) };
/// let tags: Vec<_> = enrolled.tags()?.iter().map(ToString::to_string).collect();
/// assert_eq!(tags, ["course:rust-101", "person:7"]);
/// # Ok::<(), es_core::NameError>(())
/// ```
///
/// # On an enum: `#[event(…)]`
///
/// - `prefix = "course"`: the first part of each variant's name. It may be
///   left out if every variant has a `name`.
///
/// # On a variant, or on a struct: `#[event(…)]`
///
/// - `name = "course.over"`: the whole name. On a variant the default is the
///   prefix, a dot, and the variant's name in snake_case; on a struct it is
///   required.
/// - `version = 2`: the version of the schema in which this program writes;
///   the default is 1.
/// - `alias = "course.joined"`: a name under which an earlier program wrote
///   the type; as many as there were.
///
/// A name is lower case with dots between its parts, `entity.action`; an alias
/// may be any name that a store holds. No two types share a name or an alias.
///
/// # On a field: `#[tag]`
///
/// The event gets a tag whose key is the field's name and whose value is what
/// its `Display` writes. `#[tag(key = "person")]` names another key, and a
/// field of a tuple needs one. An `Option` gives a tag if it is `Some`, a
/// `Vec` gives one for each item.
///
/// # What serde may not change
///
/// The log keeps the name of a type beside the payload, and an event is read
/// by the place of its variant. So `#[serde(tag, content, untagged, from,
/// try_from, into)]` on an enum, and `#[serde(skip, skip_serializing,
/// skip_deserializing, other, untagged)]` on a variant do not compile. Other
/// attributes, those of fields above all, work as they always do.
///
/// # Schemas
///
/// With the feature `schema`, `es_core::EventSchemas` is written too: the JSON
/// Schema of each payload, with the comments on its fields. Each field's type
/// needs `schemars::JsonSchema`, or an attribute such as
/// `#[schemars(with = "String")]`, which does nothing without the feature.
#[proc_macro_derive(Event, attributes(event, tag, schemars))]
pub fn event(input: TokenStream) -> TokenStream {
    errors::expand(input, event::expand)
}

/// Writes `es_core::Aggregate` for a struct or an enum that implements
/// `es_core::Evolve`.
///
/// ```
/// use es_core::{Aggregate, Event, Evolve};
/// use serde::{Deserialize, Serialize};
///
/// # #[derive(Serialize, Deserialize, Event)]
/// # #[event(prefix = "door")]
/// # enum DoorEvent { Opened }
/// enum DoorError { Locked }
///
/// #[derive(Default, Serialize, Deserialize, Aggregate)]
/// #[aggregate(category = "door", id = u32, error = DoorError, revision = 2)]
/// struct Door { open: bool }
///
/// impl Evolve for Door {
///     type Event = DoorEvent;
///     fn evolve(&mut self, _: &DoorEvent) {
///         self.open = true;
///     }
/// }
///
/// assert_eq!(Door::CATEGORY, "door");
/// ```
///
/// # `#[aggregate(…)]`
///
/// - `category = "door"`: the category of its streams; the default is the
///   type's name in snake_case. It holds no hyphen.
/// - `id = u32`: the type that tells one from another; the default is `String`.
/// - `error = DoorError`: why it refuses a command; the default is
///   `es_core::Rejection`, a text.
/// - `revision = 2`: raise it when old snapshots should be ignored though the
///   fields are the same; the default is 1.
///
/// # The fingerprint
///
/// `FINGERPRINT` is a hash of what a snapshot depends on: the fields' names,
/// types and order, the variants, serde's attributes, and the revision. The
/// type's own name, comments, visibility and whitespace do not count. The
/// macro sees the name of a field's type and not what is inside it, so raise
/// the revision when that changes, or when the meaning of a field does.
#[proc_macro_derive(Aggregate, attributes(aggregate))]
pub fn aggregate(input: TokenStream) -> TokenStream {
    errors::expand(input, aggregate::expand)
}

/// Writes `cqrs::Command` for a struct.
///
/// ```
/// use cqrs::Command;
/// use es_core::{Claim, StreamId};
/// # use es_core::{Aggregate, Event, Evolve};
/// # #[derive(serde::Serialize, serde::Deserialize, Event)]
/// # #[event(prefix = "account")]
/// # enum AccountEvent { Opened }
/// # #[derive(Default, Aggregate)]
/// # struct Account;
/// # impl Evolve for Account { type Event = AccountEvent; fn evolve(&mut self, _: &AccountEvent) {} }
///
/// #[derive(Command)]
/// #[command(creates, name = "account.open")]
/// struct Open {
///     #[id(Account)]
///     account: String,
///     #[claim("owner-name")]
///     owner: String,
/// }
///
/// let open = Open { account: "7".into(), owner: "ada".into() };
/// assert_eq!(open.id(), "7");
/// assert_eq!((Open::NAME, Open::CREATES), ("account.open", true));
///
/// let stream = StreamId::new("account", "7")?;
/// assert_eq!(open.claims(&stream)?, [Claim::take("owner-name", "ada", stream)?]);
/// # Ok::<(), es_core::NameError>(())
/// ```
///
/// # `#[command(…)]`
///
/// - `aggregate = Account`: who decides about it, unless that stands at the id.
/// - `creates`: it usually meets an aggregate that does not exist yet, so it is
///   decided first and loads only if there is one.
/// - `name = "account.open"`: its name in logs and metrics; the default is the
///   type's name in snake_case.
///
/// # On a field: `#[id(Account)]`
///
/// Exactly one field, of the aggregate's `Id` type, says which aggregate.
/// `#[id]` alone will do if `#[command(aggregate = …)]` says who decides.
///
/// # On a field: `#[claim("owner-name")]`
///
/// The events that follow from the command take the field's value, as its
/// `Display` writes it, for their stream: no other stream can take it in this
/// scope. An `Option` is claimed if it is `Some`, a `Vec` item by item. A field
/// may be claimed in several scopes. To give a value up, write the trait's
/// `claims` by hand.
#[proc_macro_derive(Command, attributes(command, id, claim))]
pub fn command(input: TokenStream) -> TokenStream {
    errors::expand(input, command::expand)
}

/// Writes `cqrs::Query` for a type that asks a question.
///
/// ```
/// use cqrs::Query;
///
/// #[derive(Query)]
/// #[query(output = Option<u64>)]
/// struct BalanceOf { account: String }
///
/// assert_eq!(BalanceOf::NAME, "balance_of");
/// ```
///
/// # `#[query(…)]`
///
/// - `output = Option<u64>`: the type of the answer; required.
/// - `name = "account.balance"`: its name in logs and metrics; the default is
///   the type's name in snake_case.
#[proc_macro_derive(Query, attributes(query))]
pub fn query(input: TokenStream) -> TokenStream {
    errors::expand(input, query::expand)
}
