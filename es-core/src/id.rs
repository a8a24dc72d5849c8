use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

/// The identity of one event, for ever: a UUID, version 7 unless it came from
/// elsewhere.
///
/// ```
/// use es_core::{EventId, World};
///
/// let id: EventId = World::real().event_id();
/// assert_eq!(id.uuid().get_version_num(), 7);
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct EventId(Uuid);

/// The idempotency key of an append: the same id never makes a second copy.
///
/// A caller that does not know whether its append arrived sends it again with
/// the same id and gets the first positions back. Ids that begin with a time
/// ([`AppendId::at`], and those that the [`World`](crate::World) makes) lie
/// together in a store's index; random ones do not, and cost more to write.
///
/// ```
/// use es_core::AppendId;
///
/// let once = AppendId::derive("import/2013-01-01/UA-1545");
/// assert_eq!(once, AppendId::derive("import/2013-01-01/UA-1545"));
/// assert_ne!(once, AppendId::derive("import/2013-01-01/UA-1546"));
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct AppendId(Uuid);

macro_rules! uuid_newtype {
    ($name:ident) => {
        impl $name {
            /// The id with this UUID.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_newtype!(EventId);
uuid_newtype!(AppendId);

impl AppendId {
    /// The id that belongs to `key`: a UUID v8 made of the key's hash.
    pub fn derive(key: &str) -> Self {
        Self(Builder::from_custom_bytes(fingerprint(key.as_bytes()).to_be_bytes()).into_uuid())
    }

    /// The id that belongs to `key`, in the layout of a UUID v7 whose time is
    /// `time`: ids of one day stay together in an index.
    pub fn at(time: DateTime<Utc>, key: &str) -> Self {
        let hash = fingerprint(key.as_bytes()).to_be_bytes();
        let mut random = [0; 10];
        random.copy_from_slice(&hash[..10]);
        Self(Builder::from_unix_timestamp_millis(millis(time), &random).into_uuid())
    }
}

pub(crate) fn millis(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

/// FNV-1a with 128 bits and a last mixing step: the same for ever and on every
/// machine, which is what an id needs; it resists no attacker.
pub(crate) fn fingerprint(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const MIX: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let hash =
        bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    let hash = (hash ^ (hash >> 67)).wrapping_mul(MIX);
    hash ^ (hash >> 61)
}
