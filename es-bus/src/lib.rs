//! The event bus: messages between programs, over any broker.
//!
//! A broker (a [`Publisher`](es_core::Publisher), [`Consumer`](es_core::Consumer) and
//! [`DeadLetters`](es_core::DeadLetters)) moves messages. The [`EventBus`] is what a
//! program uses of it: typed events in, and handlers that are retried, whose failures are
//! kept apart, and that drain before the program ends.
//!
//! ```
//! use es_bus::{Endpoint, EventBus, Received};
//! use es_core::Event;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Event)]
//! #[event(prefix = "order")]
//! enum OrderEvent {
//!     Placed { order: u64 },
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = EventBus::for_testing();
//! let (seen, mut orders) = tokio::sync::mpsc::channel(1);
//! let billing = Endpoint::new("billing")?.to("order.*")?.handle(
//!     move |received: Received<OrderEvent>| {
//!         let seen = seen.clone();
//!         async move {
//!             let OrderEvent::Placed { order } = received.event;
//!             seen.send(order).await?;
//!             Ok(())
//!         }
//!     },
//! );
//! let running = bus.subscribe(billing).await?;
//! bus.publish(&OrderEvent::Placed { order: 7 }).await?;
//! assert_eq!(orders.recv().await, Some(7));
//! assert!(running.drain().await.is_clean());
//! # Ok(())
//! # }
//! ```
//!
//! | to | look at |
//! |---|---|
//! | publish, send to one group | [`EventBus::publish`], [`EventBus::enqueue`], [`EventBus::send`] |
//! | handle | [`Endpoint`], [`Endpoints`], [`Handle`], [`HandleBatch`], [`HandleError`] |
//! | say what happens when that fails | [`RetryPolicy`], [`Endpoint::outage_after`] |
//! | put something around a handler | [`Ready::layer`] |
//! | look at what failed | [`EventBus::dead_letters`], [`Letters`], [`Redrive`] |
//! | ask and be answered | [`EventBus::request`], [`Received::reply`] |
//! | send later | [`Schedule`] |
//! | handle history once more | [`Replay`], [`Ready::replay`], [`Received::is_replay`] |
//! | speak CloudEvents | [`cloudevents`] |
//! | see what goes on | [`Running::stats`], [`Running::health`] |

extern crate self as es_bus;

mod broker;
mod bus;
pub mod cloudevents;
mod current;
mod endpoint;
mod endpoints;
mod error;
mod handle;
mod health;
mod layers;
mod letters;
mod metrics;
mod outage;
mod ready;
mod received;
mod replay;
mod request;

mod running;
mod schedule;
mod seen;
mod stats;
mod time;
mod work;

pub use broker::Broker;
pub use bus::EventBus;
pub use endpoint::{Endpoint, Ready};
pub use endpoints::{Endpoints, RunningEndpoints};
pub use error::{BusError, RequestError};
pub use es_core::RetryPolicy;
pub use handle::{Handle, HandleBatch, HandleError};
pub use health::Health;
pub use layers::{Handled, Handler, Handling};
pub use letters::{Letters, Redrive, Redriven};
pub use received::Received;
pub use replay::{Replay, ReplayError, Replayed};
pub use running::{Drained, Running};
pub use schedule::{Schedule, Sending};
pub use stats::EndpointStats;
