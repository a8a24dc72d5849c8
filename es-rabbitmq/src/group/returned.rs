//! What comes back from a process that is gone, in the order in which it had it.
//!
//! A queue gives what comes back before what is new, and each message with the number of
//! times that it came back. What the last process had comes back in its order; but if it
//! had only a part of what came back to it, that part stands behind the rest. It came back
//! once more than the rest, and so the order is found again by that number. All of it is in
//! one hand before anything is handed out: whoever has the queue has at most
//! [`AHEAD`](super::unit::AHEAD) of it unacknowledged, so that no more than that can come
//! back, and a mark behind it says where it ends.

use lapin::message::Delivery;

use super::unit::AHEAD;
use crate::envelope;

/// In its headers a message says that it is a mark.
pub(super) const MARK: &str = "gesta-mark";

/// What has come back until now.
#[derive(Debug, Default)]
pub(super) struct Returned {
    all: Vec<(u64, Delivery)>,
    is_whole: bool,
}

impl Returned {
    /// Adds what came, and says whether all is there.
    pub(super) fn push(&mut self, delivery: Delivery) -> bool {
        let times = times(&delivery);
        self.is_whole |= times == 0;
        self.all.push((times, delivery));
        self.is_whole || self.all.len() >= usize::from(AHEAD)
    }

    /// What came back, in its order, and what is new behind it.
    pub(super) fn in_order(mut self) -> impl Iterator<Item = Delivery> {
        // What came as often stays in its order.
        self.all.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
        self.all.into_iter().map(|(_, delivery)| delivery)
    }
}

/// How often it came back.
fn times(delivery: &Delivery) -> u64 {
    let number = |name| envelope::number(&delivery.properties, name).unwrap_or_default();
    // Since version 4 the second one counts those that this program asks for.
    let counted = number("x-delivery-count").max(number("x-acquired-count"));
    counted.max(delivery.redelivered.into())
}

pub(super) fn is_mark(delivery: &Delivery) -> bool {
    let headers = delivery.properties.headers().as_ref();
    headers.is_some_and(|headers| headers.contains_key(MARK))
}
