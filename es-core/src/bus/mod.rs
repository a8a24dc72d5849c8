//! The ports of a broker: messages go in at one end, and come out at the other.

mod address;
mod consumer;
mod dead_letter;
mod delivery;
mod lanes;
mod message;
mod outbox;
mod pattern;
mod publisher;
mod topic;

pub use address::Address;
pub use consumer::{Begin, Consumer, Deliveries, Order, Subscription};
pub use dead_letter::{DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetters, Fault, FaultKind};
pub use delivery::{Delivery, Settlement};
pub use lanes::{Lane, Lanes};
pub use message::Message;
pub use outbox::{OUTBOX, OUTBOX_MESSAGE, Outgoing};
pub use pattern::TopicPattern;
pub use publisher::Publisher;
pub use topic::{Group, Topic};
