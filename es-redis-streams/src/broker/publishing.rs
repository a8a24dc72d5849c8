//! Messages go into the queue of each group that listens, by one script.

use std::{collections::BTreeMap, time::Duration};

use es_core::{Address, Group, Message, StoreError, StoreErrorKind, Topic};
use redis::Value;

use super::{
    link::Link,
    routes::{Route, Routes},
    turn, wire,
};
use crate::scripts;

/// Most messages, and about how many bytes, that are published by one script.
const MESSAGES: usize = 500;
const BYTES: usize = 4_000_000;
/// How often the groups may change before a message is published.
const CHANGES: usize = 100;
/// How long a publisher waits before it looks again whether there is room.
const PAUSE: Duration = Duration::from_millis(10);

/// What a script takes at once: messages for one queue, or each for a topic.
pub(super) struct Part {
    queue: Option<Group>,
    topics: Vec<Topic>,
    written: Vec<Vec<u8>>,
    bytes: usize,
}

impl Part {
    fn to(to: &Address) -> Self {
        let queue = match to {
            Address::Queue(group) => Some(group.clone()),
            Address::Topic(_) => None,
        };
        Self { queue, topics: Vec::new(), written: Vec::new(), bytes: 0 }
    }

    fn takes(&self, to: &Address, bytes: usize) -> bool {
        let goes_along = match to {
            Address::Queue(group) => self.queue.as_ref() == Some(group),
            Address::Topic(_) => self.queue.is_none(),
        };
        goes_along
            && self.written.len() < MESSAGES
            && (self.bytes == 0 || self.bytes + bytes <= BYTES)
    }

    fn add(&mut self, to: &Address, written: Vec<u8>) {
        if let Address::Topic(topic) = to {
            self.topics.push(topic.clone());
        }
        self.bytes += written.len();
        self.written.push(written);
    }

    /// Who gets which of the messages.
    fn route(&self, routes: &Routes) -> Route {
        match &self.queue {
            Some(group) => Route::to_queue(group),
            None => routes.of(&self.topics),
        }
    }
}

/// The messages as they are written, in parts that a script takes at once.
pub(super) fn parts<'m>(
    messages: impl IntoIterator<Item = (&'m Address, &'m Message)>,
) -> Result<Vec<Part>, StoreError> {
    let mut parts: Vec<Part> = Vec::new();
    for (to, message) in messages {
        let written = wire::encode(to, message)?;
        if !parts.last().is_some_and(|part| part.takes(to, written.len())) {
            parts.push(Part::to(to));
        }
        if let Some(part) = parts.last_mut() {
            part.add(to, written);
        }
    }
    Ok(parts)
}

/// Publishes one part, and waits for room as long as a request may take.
pub(super) async fn publish(link: &Link, routes: &Routes, part: &Part) -> Result<(), StoreError> {
    let (mut changes, mut waited) = (0, Duration::ZERO);
    loop {
        let route = part.route(routes);
        match say(link, &route, part).await? {
            Said::Done => return Ok(()),
            Said::Changed(_) if changes == CHANGES => return Err(restless()),
            Said::Changed(registry) => {
                routes.learn(registry);
                changes += 1;
            }
            Said::Full(at) if waited >= link.connection.within => {
                let group = route.groups.get(at).map(|(group, _)| group);
                return Err(full(group, link.limits.backlog));
            }
            Said::Full(_) => {
                link.connection.world.sleep(PAUSE).await;
                waited += PAUSE;
            }
        }
    }
}

enum Said {
    Done,
    /// The groups are others.
    Changed(BTreeMap<String, String>),
    /// The queue of this group has no room.
    Full(usize),
}

async fn say(link: &Link, route: &Route, part: &Part) -> Result<Said, StoreError> {
    let Route { version, groups } = route;
    let said: Vec<Value> = link
        .connection
        .run(&scripts::PUBLISH, |command| {
            command.arg(2 + groups.len()).arg(link.keys.registry()).arg(link.keys.history());
            for (group, _) in groups {
                command.arg(link.keys.group(group));
            }
            command.arg(version).arg(link.limits.history).arg(link.limits.backlog);
            command.arg(part.written.len()).arg(&part.written);
            for (_, which) in groups {
                command.arg(which.as_deref().unwrap_or_default());
            }
        })
        .await?;
    let mut said = said.into_iter();
    match turn::next::<String>(&mut said)?.as_str() {
        "done" => Ok(Said::Done),
        "changed" => turn::next(&mut said).map(Said::Changed),
        _ => turn::next(&mut said).map(Said::Full),
    }
}

fn restless() -> StoreError {
    let message = "the groups changed each time that a message was to be published, try again";
    StoreError::new(StoreErrorKind::Busy, message)
}

fn full(group: Option<&Group>, most: usize) -> StoreError {
    let group = group.map(ToString::to_string).unwrap_or_default();
    let message =
        format!("the group {group} has not handled {most} messages: let it catch up, or forget it");
    StoreError::new(StoreErrorKind::Full, message)
}
