//! Gesta on RabbitMQ: a broker with topics, groups, order by key, and dead letters.
//!
//! ```no_run
//! use es_core::{Consumer, Group, Subscription, TopicPattern};
//! use es_rabbitmq::RabbitOptions;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = RabbitOptions::new("amqp://127.0.0.1:5672/%2f").prefix("shop").connect().await?;
//! let billing = Subscription::of(Group::new("billing")?).to(TopicPattern::new("order.*")?);
//! let deliveries = broker.consume(billing).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It needs a RabbitMQ with quorum queues and streams, 3.10 or newer, and no plugin.
//!
//! # How it works
//!
//! - Topics are published to the exchange `shop`, with the number of a partition in front,
//!   from the tenant and the key: `7.order.placed`. What goes to one group is published to
//!   `shop.groups`. A group has a quorum queue for each partition, `shop.g.7.billing`, bound
//!   to what it listens to; where all of its messages wait for each other, one queue is bound
//!   to all numbers.
//! - A partition has one owner at a time: the process that has declared the exclusive queue
//!   `shop.o.7.billing`, which goes with its connection. Each group has a connection of its own
//!   in a process, which is closed when anything fails, so that no partition stays with a
//!   process that does not serve it. It hands out one message of a key at
//!   a time, and keeps unacknowledged what is in hand or waits for its next try. Processes are
//!   counted by who consumes from `shop.m.billing`; who has more than its share hands over.
//! - What comes back when an owner goes comes back in its order, before anything else: the
//!   queue has a single active consumer, consumers are never cancelled, and what came back in
//!   parts is sorted by how often it did. So an owner begins when all of that is in its hand.
//! - Dead letters are a fold over the stream `shop.l.billing`: each was buried, given back,
//!   discarded or done there, and its number is where it was buried. Owners follow it. A
//!   message leaves its queue when its record is read again; if its owner dies in between, the
//!   next one knows it by a number that its publisher gave it.
//! - What all programs, or all members of a group, have to agree on is said by the exchanges
//!   `shop.about` and `shop.c.billing`: whoever declares them to say something else is refused.
//!
//! # What is weak
//!
//! - The log of dead letters is never shortened, and each process that begins to work for a
//!   group reads all of it, as does each look at dead letters.
//! - 1,000 messages of a partition that are not settled stop all of its keys, also those that
//!   have nothing in hand: many that wait for their next try hold up others.
//! - A dead letter whose record is written while its partition changes hands may stand beside
//!   the same message handled by the next owner. So may one whose settlement is given up in the
//!   middle, by a caller that no longer waits for it.
//! - Each partition that a process owns takes a channel, of which a connection has 2,047 unless
//!   the server is told otherwise.
//!
//! | room | what is in it |
//! |---|---|
//! | `options`, `server` | where the server is, its connections and queues, and how something gets there for sure |
//! | `broker` | publishing, and how a group is founded, joined and forgotten |
//! | `group/keeping`, `group/unit` | who has which partition, from its taking to its handing over |
//! | `group/returned` | what comes back, in order |
//! | `group/queue` | what waits, what is in hand, what stands behind a dead letter |
//! | `letters`, `group/burying` | what could not be handled |
//! | `names`, `envelope`, `error` | how all of that is written |

mod broker;
mod envelope;
mod error;
mod group;
mod letters;
mod names;
mod options;
mod server;

pub use broker::RabbitBroker;
pub use options::RabbitOptions;
