//! Messages go into the queue of each group that listens, by one script.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use es_core::{Address, Group, Message, StoreError, StoreErrorKind};
use redis::Value;

use super::{link::Link, routes::Routes, turn, wire};
use crate::scripts;

/// Most messages, and about how many bytes, that are published by one script.
const MESSAGES: usize = 500;
const BYTES: usize = 4_000_000;
/// How often the groups may change before a message is published.
const CHANGES: usize = 100;
/// How long a publisher waits before it looks again whether there is room.
const PAUSE: Duration = Duration::from_millis(10);

/// The messages as they are written, in parts that a script takes at once.
pub(super) fn parts(to: &Address, messages: &[Message]) -> Result<Vec<Vec<Vec<u8>>>, StoreError> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for message in messages {
        let written = wire::encode(to, message)?;
        if part.len() >= MESSAGES || (bytes > 0 && bytes + written.len() > BYTES) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += written.len();
        part.push(written);
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    Ok(parts)
}

/// Publishes one part, and waits for room as long as a request may take.
pub(super) async fn publish(
    link: &Link,
    routes: &Routes,
    to: &Address,
    part: &[Vec<u8>],
) -> Result<(), StoreError> {
    let (mut changes, mut waited) = (0, Duration::ZERO);
    loop {
        let (version, groups) = match to {
            Address::Topic(topic) => routes.of(topic),
            Address::Queue(group) => (String::new(), Arc::from([group.clone()])),
        };
        match say(link, &version, &groups, part).await? {
            Said::Done => return Ok(()),
            Said::Changed(_) if changes == CHANGES => return Err(restless()),
            Said::Changed(registry) => {
                routes.learn(registry);
                changes += 1;
            }
            Said::Full(at) if waited >= link.connection.within => {
                return Err(full(groups.get(at), link.limits.backlog));
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

async fn say(
    link: &Link,
    version: &str,
    groups: &[Group],
    part: &[Vec<u8>],
) -> Result<Said, StoreError> {
    let said: Vec<Value> = link
        .connection
        .run(&scripts::PUBLISH, |command| {
            command.arg(2 + groups.len()).arg(link.keys.registry()).arg(link.keys.history());
            for group in groups {
                command.arg(link.keys.group(group));
            }
            command.arg(version).arg(link.limits.history).arg(link.limits.backlog).arg(part);
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
