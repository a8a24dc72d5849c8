//! Gesta on NATS JetStream: a broker with topics, groups, order by key, and dead letters.
//!
//! ```no_run
//! use es_core::{Consumer, Group, Subscription, TopicPattern};
//! use es_nats::NatsOptions;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = NatsOptions::new("nats://127.0.0.1:4222").prefix("shop").connect().await?;
//! let billing = Subscription::of(Group::new("billing")?).to(TopicPattern::new("order.*")?);
//! let deliveries = broker.consume(billing).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It needs a NATS server with JetStream, 2.9 or newer. From 2.10 on a group is sent what
//! it listens to; older servers know but one filter for each reader, so that there a group
//! with patterns is sent all that is published under its prefix, and leaves out the rest
//! itself.
//!
//! # How it works
//!
//! JetStream hands the messages of a consumer to whoever asks, so that two of one key may be
//! in two hands. Here the streams are a log, and what was handled is kept beside it:
//!
//! - All messages of a prefix stand in one stream, in one order, for a week unless
//!   [another time](NatsOptions::keep_for) is set. The publisher puts the number of a
//!   partition into the subject, from the tenant and the key: `shop.m.t.7.order.placed` to a
//!   topic, `shop.m.g.7.billing` to the queue of a group.
//! - A second stream, `shop_state`, keeps the last message of each subject, and is written
//!   with the revision that was seen: the charter of a group (its order, its patterns, its
//!   processes and what each of them has), how far each partition was handled, and the dead
//!   letters.
//! - A process with members takes its share of the partitions, reads the log from the first
//!   number that is not handled, and hands out in the order of the log, one message of a key
//!   at a time. Acks are collected for a few milliseconds and written as one number and a
//!   list of gaps.
//! - Whoever takes a partition writes its progress anew: the one before cannot write it any
//!   more. Processes say that they live by a counter, three times in a lease; whoever is seen
//!   to stand still for a whole lease has lost its partitions. A process that could not say
//!   it hands out nothing from then on.
//! - What a group has to be told in between stands in the log too: that it listens to more,
//!   that a dead letter was given back or discarded. So there is no moment at which one
//!   process knows of it and another passes by.
//!
//! Neither acknowledgements of JetStream nor its redelivery take part, and no `max_deliver`:
//! no message is lost for having been tried often.
//!
//! | room | what is in it |
//! |---|---|
//! | `options`, `server` | where the server is, its streams, and whether they are as they have to be |
//! | `broker`, `earlier` | publishing, and how a group is founded, joined and forgotten |
//! | `group/charter`, `group/keeping` | who has which part of a group |
//! | `group/reading`, `group/saving` | from the log, and back how far it was handled |
//! | `group/queue`, `group/unit` | what waits, what is in hand, what stands behind a dead letter |
//! | `letters`, `group/burying` | what could not be handled |
//! | `names`, `envelope`, `error` | how all of that is written |

mod broker;
mod earlier;
mod envelope;
mod error;
mod group;
mod letters;
mod names;
mod options;
mod server;

pub use broker::NatsBroker;
pub use options::NatsOptions;
