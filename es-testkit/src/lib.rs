//! Everything that tests of event sourcing need again and again: the contract
//! of every port, given-when-then for aggregates, a clock that stands still,
//! fake events, a checker of histories, and seeded bugs that prove the contract.
//!
//! ```
//! use es_testkit::{given, sample::{Account, AccountEvent::{Deposited, Withdrawn}}};
//!
//! given::<Account>([Deposited { amount: 7 }])
//!     .when(|account| account.withdraw(5))
//!     .then([Withdrawn { amount: 5 }]);
//! ```
//!
//! An adapter is tested with one line for each port that it implements; it
//! writes one test for each promise:
//!
//! ```
//! # use std::sync::Arc;
//! # use async_trait::async_trait;
//! # use es_core::{EventStore, memory::MemoryStore};
//! # use es_testkit::contract::{Harness, Opened, Place};
//! # struct InMemory;
//! # #[async_trait]
//! # impl Harness<dyn EventStore> for InMemory {
//! #     async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
//! #         Opened::new(Arc::new(MemoryStore::in_world(place.world().clone())))
//! #     }
//! # }
//! es_testkit::event_store_contract!("es-core, in memory", InMemory);
//! ```
//!
//! | to find | look at |
//! |---|---|
//! | what a port promises | [`contract`] |
//! | how to write an adapter | [`adapters`] |
//! | tests of aggregates | [`given()`] |
//! | time and chance in a test's hand | [`TestClock`], [`TestWorld`], [`SeededRandom`] |
//! | events to play with | [`fake`], [`sample`], [`strategy`] |
//! | whether what many clients saw fits together | [`history`] |
//! | whether the contract would notice a bug | [`mutants`] |
//! | a future dropped at every point where it waits | [`sweep()`] |
//! | servers and networks that fail when told | `servers`, with the feature of that name |

mod clock;
pub mod contract;
pub mod fake;
mod given;
pub mod history;
pub mod model;
pub mod mutants;
mod not_run;
pub mod sample;
#[cfg(feature = "servers")]
pub mod servers;
pub mod strategy;
mod sweep;
mod world;

#[doc = include_str!("../ADAPTERS.md")]
pub mod adapters {}

pub use clock::{MovedClock, TestClock};
pub use given::{Decided, Given, given};
pub use not_run::not_run;
pub use sweep::{Swept, sweep};
pub use world::{SeededRandom, TestWorld};
