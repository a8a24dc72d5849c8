//! What could not be handled.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use es_core::{
    DeadLetter, DeadLetterId, DeadLetterQuery, Fault, FaultKind, Group, Message, StoreError,
    StoreErrorKind,
};
use redis::{FromRedisValue, Value};

use super::{link::Link, turn, wire};
use crate::scripts;

pub(super) async fn list(
    link: &Link,
    query: &DeadLetterQuery,
) -> Result<Vec<DeadLetter>, StoreError> {
    let key = link.keys.group(&query.group);
    let looks = link.connection.look::<Vec<Value>>(&scripts::LETTERS, |command| {
        command.arg(1).arg(&key).arg(query.after.0).arg(query.limit);
    });
    let mut said = looks.await?.into_iter();
    let mut letters = Vec::with_capacity(said.len() / 2);
    while said.len() > 0 {
        let id = DeadLetterId(turn::next(&mut said)?);
        let letter = said.next().and_then(|text| read(&query.group, id, text));
        letters.push(letter.ok_or_else(|| unreadable(id))?);
    }
    Ok(letters)
}

pub(super) async fn give_back(
    link: &Link,
    group: &Group,
    id: DeadLetterId,
    edited: Option<Message>,
) -> Result<bool, StoreError> {
    let after = DeadLetterId(id.0.saturating_sub(1));
    let found = list(link, &DeadLetterQuery::of(group.clone()).after(after).limit(1)).await?;
    let Some(letter) = found.into_iter().find(|letter| letter.id == id) else { return Ok(false) };
    let written = wire::encode(&letter.to, &edited.unwrap_or(letter.message))?;
    exhume(link, group, id, Some(&written)).await
}

/// Removes it, and puts this in its place.
pub(super) async fn exhume(
    link: &Link,
    group: &Group,
    id: DeadLetterId,
    heir: Option<&[u8]>,
) -> Result<bool, StoreError> {
    let key = link.keys.group(group);
    let exhumes = link.connection.run(&scripts::EXHUME, |command| {
        command.arg(1).arg(&key).arg(id.0).arg(heir);
    });
    exhumes.await
}

/// The word under which a dead letter is listed.
pub(super) fn kind_word(kind: FaultKind) -> String {
    serde_json::to_string(&kind).expect("it is a word")
}

/// As `queue.lua` writes it: a line of words, the reason, and the message.
fn read(group: &Group, id: DeadLetterId, text: Value) -> Option<DeadLetter> {
    let text = Bytes::from(Vec::<u8>::from_redis_value(text).ok()?);
    let line = text.iter().position(|byte| *byte == b'\n')?;
    let mut words = std::str::from_utf8(&text[..line]).ok()?.split(' ');
    let kind = serde_json::from_str(words.next()?).ok()?;
    let attempts = words.next()?.parse().ok()?;
    let at = time(words.next()?, words.next()?)?;
    let end = line.checked_add(1)?.checked_add(words.next()?.parse().ok()?)?;
    let reason = std::str::from_utf8(text.get(line + 1..end)?).ok()?;
    let what = wire::decode(&text.slice(end..))?;
    Some(DeadLetter::new(id, group.clone(), what, Fault::new(kind, reason), attempts, at))
}

fn time(seconds: &str, micros: &str) -> Option<DateTime<Utc>> {
    let micros: u32 = micros.parse().ok()?;
    DateTime::from_timestamp(seconds.parse().ok()?, micros.checked_mul(1_000)?)
}

fn unreadable(id: DeadLetterId) -> StoreError {
    let message = format!("dead letter {id} cannot be read: discard it");
    StoreError::new(StoreErrorKind::Corrupt, message)
}
