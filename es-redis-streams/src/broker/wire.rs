//! How a message is written: one text of bytes, so that it is moved from list to list, and
//! pushed by the hundred, as one word of a command. In front stands what the scripts read:
//! its lane, and where it was published to. Numbers are big endian, and texts stand behind
//! their length.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use es_core::{
    Address, ContentType, Group, Message, Metadata, Name, Order, StoreError, StoreErrorKind,
    Tenant, Topic,
};

const VERSION: u8 = 1;
const TOPIC: u8 = b't';
const QUEUE: u8 = b'q';
/// The one lane of a group in which all waits for all.
const WHOLE: &[u8] = b"whole";

pub(super) fn encode(to: &Address, message: &Message) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::with_capacity(128 + message.payload.len());
    out.push(VERSION);
    let lane = message.key.as_ref().map(|key| lane_text(&message.tenant, key));
    put(&mut out, lane.as_deref().unwrap_or_default());
    let (sort, name) = match to {
        Address::Topic(topic) => (TOPIC, topic.as_str()),
        Address::Queue(group) => (QUEUE, group.as_str()),
    };
    out.push(sort);
    put(&mut out, name.as_bytes());
    put(&mut out, message.id.as_bytes());
    put(&mut out, message.kind.as_str().as_bytes());
    out.extend(message.schema_version.to_be_bytes());
    if lane.is_none() {
        put(&mut out, message.tenant.as_str().as_bytes());
    }
    put_time(&mut out, message.time);
    put_time(&mut out, message.expires);
    put(&mut out, message.content_type.as_str().as_bytes());
    put(&mut out, &metadata_text(&message.metadata)?);
    out.extend_from_slice(&message.payload);
    Ok(out)
}

fn lane_text(tenant: &Tenant, key: &str) -> Vec<u8> {
    let mut lane = Vec::with_capacity(4 + tenant.as_str().len() + key.len());
    put(&mut lane, tenant.as_str().as_bytes());
    lane.extend_from_slice(key.as_bytes());
    lane
}

fn metadata_text(metadata: &Metadata) -> Result<Vec<u8>, StoreError> {
    if metadata.is_empty() {
        return Ok(Vec::new());
    }
    let invalid =
        |why: serde_json::Error| StoreError::new(StoreErrorKind::Invalid, why.to_string());
    serde_json::to_vec(metadata).map_err(invalid)
}

fn put(out: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).expect("a server takes less than 4 GB at once");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(text);
}

fn put_time(out: &mut Vec<u8>, time: Option<DateTime<Utc>>) {
    out.push(u8::from(time.is_some()));
    if let Some(time) = time {
        out.extend(time.timestamp().to_be_bytes());
        out.extend(time.timestamp_subsec_nanos().to_be_bytes());
    }
}

/// The lane in which the scripts let this message wait, also if the rest of it is damaged;
/// empty if it waits for nobody. Has to say the same as `lane_of` in `queue.lua`.
pub(super) fn lane(written: &Bytes, order: Order) -> Bytes {
    match order {
        Order::None => Bytes::new(),
        Order::Whole => Bytes::from_static(WHOLE),
        Order::Key => {
            let mut rest = written.get(1..).unwrap_or_default();
            take(&mut rest).map(|lane| written.slice_ref(lane)).unwrap_or_default()
        }
    }
}

/// Nothing if it is damaged.
pub(super) fn decode(written: &Bytes) -> Option<(Address, Message)> {
    let rest = &mut &written[..];
    if take_byte(rest)? != VERSION {
        return None;
    }
    let lane = take(rest)?;
    let sort = take_byte(rest)?;
    let name = take_text(rest)?;
    let to = match sort {
        TOPIC => Topic::new(name).ok()?.into(),
        QUEUE => Group::new(name).ok()?.into(),
        _ => return None,
    };
    let (id, kind) = (take_text(rest)?, Name::new(take_text(rest)?).ok()?);
    let schema_version = u32::from_be_bytes(take_array(rest)?);
    let (tenant, key) = match lane {
        [] => (take_text(rest)?, None),
        mut lane => (take_text(&mut lane)?, Some(std::str::from_utf8(lane).ok()?.to_owned())),
    };
    let (time, expires) = (take_time(rest)?, take_time(rest)?);
    let content_type = ContentType::new(Name::new(take_text(rest)?).ok()?);
    let metadata = match take(rest)? {
        [] => Metadata::new(),
        text => serde_json::from_slice(text).ok()?,
    };
    let mut message = Message::new(id, kind, content_type, written.slice_ref(rest));
    message.schema_version = schema_version;
    message.tenant = tenant_of(tenant)?;
    (message.key, message.time, message.expires) = (key, time, expires);
    message.metadata = metadata;
    Some((to, message))
}

/// Most messages are of the default tenant, whose name needs no place of its own.
fn tenant_of(name: &str) -> Option<Tenant> {
    let default = Tenant::default();
    if name == default.as_str() { Some(default) } else { Tenant::new(name).ok() }
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    take_array::<1>(rest).map(|[byte]| byte)
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u32::from_be_bytes(take_array(rest)?)).ok()?;
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    take(rest).and_then(|text| std::str::from_utf8(text).ok())
}

fn take_time(rest: &mut &[u8]) -> Option<Option<DateTime<Utc>>> {
    if take_byte(rest)? == 0 {
        return Some(None);
    }
    let (seconds, nanos) =
        (i64::from_be_bytes(take_array(rest)?), u32::from_be_bytes(take_array(rest)?));
    DateTime::from_timestamp(seconds, nanos).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message::new("1", Name::from_static("order.placed"), ContentType::JSON, "{}")
    }

    fn topic() -> Address {
        Topic::new("orders").expect("a topic").into()
    }

    #[test]
    fn what_is_cut_off_is_damaged_and_never_a_panic() {
        let metadata = Metadata::new().with("a", "b");
        let mut sent = message().with_key("").with_metadata(metadata);
        sent.time = DateTime::from_timestamp(-1, 999_999_999);
        let written = Bytes::from(encode(&topic(), &sent).expect("a text"));
        assert_eq!(decode(&written), Some((topic(), sent)));
        for end in 0..written.len() - 2 {
            assert_eq!(decode(&written.slice(..end)), None, "{end}");
        }
    }

    #[test]
    fn a_lane_is_read_from_what_is_damaged_behind_it() {
        let written = Bytes::from(encode(&topic(), &message().with_key("ada")).expect("a text"));
        let lane_of = |length| lane(&written.slice(..length), Order::Key);
        assert_eq!(lane_of(5 + 14), &b"\0\0\0\x07defaultada"[..]);
        for length in 0..5 + 14 {
            assert!(lane_of(length).is_empty());
        }
        assert!(lane(&written, Order::None).is_empty());
        assert_eq!(lane(&Bytes::new(), Order::Whole), WHOLE);
        let free = Bytes::from(encode(&topic(), &message()).expect("a text"));
        assert!(lane(&free, Order::Key).is_empty());
    }
}
