//! The server, and what every part of a broker has to know of it.

use std::{sync::Arc, time::Duration};

use es_core::{Begin, Group, Order, StoreError, StoreErrorKind, Subscription, TopicPattern};
use redis::Cmd;

use super::{members::Members, turn::millis};
use crate::{connection::Connection, keys::Keys, scripts};

/// How many leases long who takes part hears that a group was forgotten.
const HEARD_FOR: u32 = 10;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Arc<Connection>,
    pub(super) keys: Arc<Keys>,
    pub(super) limits: Limits,
}

/// What is bounded, and by what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) lease: Duration,
    pub(crate) history: usize,
    pub(crate) backlog: usize,
    pub(crate) dead_letters: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            history: 1_000,
            backlog: 1_000_000,
            dead_letters: 10_000,
        }
    }
}

/// What the members of a group agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) order: Order,
    parks: bool,
}

impl Terms {
    pub(super) fn of(subscription: &Subscription) -> Self {
        Self { order: subscription.order, parks: subscription.parks }
    }

    /// The two words under which the group keeps them.
    pub(super) fn write(self, command: &mut Cmd) {
        let order = match self.order {
            Order::None => "none",
            Order::Key => "key",
            Order::Whole => "whole",
        };
        command.arg(order).arg(u8::from(self.parks));
    }
}

impl Link {
    /// Makes the group, and lets it listen to these.
    pub(super) async fn join(
        &self,
        group: &Group,
        terms: Terms,
        begin: Begin,
        patterns: &[TopicPattern],
    ) -> Result<(), StoreError> {
        let keys = [self.keys.group(group), self.keys.registry(), self.keys.history()];
        let begin = match begin {
            Begin::Now => "now",
            Begin::Earliest => "earliest",
        };
        let patterns: Vec<_> = patterns.iter().map(TopicPattern::as_str).collect();
        let said: String = self
            .connection
            .run(&scripts::JOIN, |command| {
                command.arg(keys.len()).arg(&keys).arg(group.as_str());
                terms.write(command);
                command.arg(begin).arg(&patterns);
            })
            .await?;
        if said == "done" { Ok(()) } else { Err(disagree(group)) }
    }

    /// The same for members that took part before the server lost everything.
    pub(super) async fn join_again(&self, members: &Members) -> Result<(), StoreError> {
        self.join(&members.group, members.terms, Begin::Now, &members.patterns()).await
    }

    pub(super) async fn forget(&self, group: &Group) -> Result<(), StoreError> {
        let keys = [self.keys.group(group), self.keys.registry()];
        let forgets = self.connection.run::<u8>(&scripts::FORGET, |command| {
            command.arg(keys.len()).arg(&keys).arg(group.as_str());
            command.arg(millis(self.limits.lease.saturating_mul(HEARD_FOR)));
        });
        forgets.await.map(drop)
    }
}

fn disagree(group: &Group) -> StoreError {
    let message = format!(
        "the members of the group {group} ask for different orders, or not all of them park: \
         let all of them ask for the same"
    );
    StoreError::new(StoreErrorKind::Invalid, message)
}
