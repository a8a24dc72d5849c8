//! A batch as what the statements take: arrays.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use es_core::{Batch, Claim, ClaimChange, Expected, NewEvent, StoreError, Tag, Unless};
use uuid::Uuid;

use crate::{
    call::Call,
    error::{damaged, signed},
};

/// What an append asks of a stream, as a number.
pub(crate) fn expectation(expected: Expected) -> Result<i64, StoreError> {
    match expected {
        Expected::Any => Ok(-1),
        Expected::Exists => Ok(-2),
        Expected::NoStream => Ok(0),
        // Beyond what a version can be is a version that no stream has.
        Expected::Exact(version) => Ok(signed(version.get()).unwrap_or(i64::MAX)),
    }
}

/// Columns of the events of a statement.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// The write, or the head, that each belongs to; counted from 1.
    pub(crate) owner: Vec<i32>,
    /// How far behind the version that its stream had before.
    pub(crate) offset: Vec<i64>,
    types: Vec<String>,
    schema_versions: Vec<i64>,
    content_types: Vec<String>,
    ids: Vec<Uuid>,
    tags: Vec<Option<String>>,
    metadata: Vec<Option<String>>,
    correlations: Vec<Option<i64>>,
    payloads: Vec<Vec<u8>>,
}

impl Events {
    pub(crate) fn push(
        &mut self,
        owner: usize,
        offset: usize,
        event: &NewEvent,
    ) -> Result<(), StoreError> {
        let Fields { metadata, correlation } = Self::fields(event)?;
        self.owner.push(i32::try_from(owner).map_err(damaged)?);
        self.offset.push(i64::try_from(offset).map_err(damaged)?);
        self.types.push(event.event_type.as_str().to_owned());
        self.schema_versions.push(event.schema_version.into());
        self.content_types.push(event.content_type.as_str().to_owned());
        self.ids.push(event.id.uuid());
        self.tags.push(joined(&event.tags));
        self.metadata.push(metadata);
        self.correlations.push(correlation);
        self.payloads.push(event.payload.to_vec());
        Ok(())
    }

    /// What the metadata of an event becomes.
    pub(crate) fn fields(event: &NewEvent) -> Result<Fields, StoreError> {
        let fields = event.metadata.fields();
        let metadata = (!event.metadata.is_empty()).then(|| serde_json::to_string(fields));
        Ok(Fields {
            metadata: metadata.transpose().map_err(damaged)?,
            correlation: fields.correlation_id.as_deref().map(correlation_hash),
        })
    }

    pub(crate) fn have_tags(&self) -> bool {
        self.tags.iter().any(Option::is_some)
    }

    pub(crate) fn have_correlations(&self) -> bool {
        self.correlations.iter().any(Option::is_some)
    }

    /// In the order: owner, offset, types, schema versions, content types, ids,
    /// tags, metadata, correlations, payloads.
    pub(crate) fn bind(self, query: Call) -> Call {
        query
            .bind(self.owner)
            .bind(self.offset)
            .bind(self.types)
            .bind(self.schema_versions)
            .bind(self.content_types)
            .bind(self.ids)
            .bind(unless_empty(self.tags))
            .bind(unless_empty(self.metadata))
            .bind(unless_empty(self.correlations))
            .bind(self.payloads)
    }
}

/// The columns that come from the metadata of an event.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) metadata: Option<String>,
    pub(crate) correlation: Option<i64>,
}

/// Missing values at the end need not be sent.
fn unless_empty<T>(column: Vec<Option<T>>) -> Vec<Option<T>> {
    if column.iter().all(Option::is_none) { Vec::new() } else { column }
}

fn joined(tags: &[Tag]) -> Option<String> {
    (!tags.is_empty()).then(|| tags.iter().map(Tag::as_str).collect::<Vec<_>>().join("\n"))
}

/// By which events of a correlation are found; who reads compares the ids.
pub(crate) fn correlation_hash(id: &str) -> i64 {
    hash(&["correlation", id]).cast_signed()
}

/// FNV-1a over parts that do not run into each other.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Locks that make a condition over the whole log safe: whoever appends shares
/// the buckets of its types and tags, whoever has a condition on them holds them
/// alone. There is a fixed number, as the server's memory for locks is bounded.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    shared: BTreeSet<i32>,
    alone: BTreeSet<i32>,
}

const BUCKETS: u64 = 256;

impl Buckets {
    pub(crate) fn share(&mut self, tenant: &str, event: &NewEvent) {
        self.shared.insert(bucket_of_type(tenant, event));
        self.shared.extend(event.tags.iter().map(|tag| bucket(tenant, "tag", tag.as_str())));
    }

    /// What meets the condition shares one of these.
    fn guard(&mut self, tenant: &str, unless: &Unless) {
        for one in unless.criteria.alternatives() {
            match (one.tags.first(), one.types.as_slice()) {
                (Some(tag), _) => drop(self.alone.insert(bucket(tenant, "tag", tag.as_str()))),
                (None, []) => self.alone.extend(0..range(BUCKETS)),
                (None, types) => {
                    self.alone.extend(types.iter().map(|name| bucket(tenant, "type", name)));
                }
            }
        }
    }

    /// Two who want one key come one after the other. Claims have buckets of
    /// their own.
    fn claim(&mut self, claim: &Claim) {
        let key = hash(&[claim.holder().tenant().as_str(), claim.scope(), claim.key()]);
        self.alone.insert(range(BUCKETS) + range(key % BUCKETS));
    }

    /// Each bucket once, by number, and whether it is held alone.
    pub(crate) fn in_order(&self) -> (Vec<i32>, Vec<bool>) {
        let all: BTreeSet<_> = self.shared.union(&self.alone).collect();
        all.into_iter().map(|bucket| (*bucket, self.alone.contains(bucket))).unzip()
    }
}

pub(crate) fn bucket_of_type(tenant: &str, event: &NewEvent) -> i32 {
    bucket(tenant, "type", event.event_type.as_str())
}

fn bucket(tenant: &str, kind: &str, text: &str) -> i32 {
    range(hash(&[tenant, kind, text]) % BUCKETS)
}

fn range(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The statement that appends one batch of any kind, for whoever folds these models; see
/// `append_one.sql`.
pub(crate) fn append_one(
    sql: Arc<str>,
    batch: &Batch,
    folded: &[String],
    now: DateTime<Utc>,
) -> Result<Call, StoreError> {
    let owner = batch.tenant().map(|tenant| tenant.as_str().to_owned()).unwrap_or_default();
    let (mut events, mut buckets) = (Events::default(), Buckets::default());
    let (mut streams, mut added, mut expected, mut appends) = (vec![], vec![], vec![], vec![]);
    let mut lengths = HashMap::new();
    for (at, write) in batch.writes.iter().enumerate() {
        let length = lengths.entry(&write.stream).or_insert(0);
        let before = *length;
        *length += write.events.len();
        streams.push(write.stream.name().to_owned());
        added.push(i64::try_from(before).map_err(damaged)?);
        expected.push(expectation(write.expected)?);
        appends.push(write.append_id.map(|id| id.uuid()));
        for (place, event) in write.events.iter().enumerate() {
            events.push(at + 1, before + place + 1, event)?;
            buckets.share(&owner, event);
        }
    }
    let mut distinct = streams.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let mut ids: Vec<_> = appends.iter().flatten().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let claims = batch.claims_in_order();
    claims.iter().for_each(|claim| buckets.claim(claim));
    batch.unless.iter().for_each(|unless| buckets.guard(&owner, unless));
    let (numbers, alone) = buckets.in_order();
    let text = |text: &str| text.to_owned();
    let query = Call::new(sql)
        .bind(owner)
        .bind(now)
        .bind(numbers)
        .bind(alone)
        .bind(distinct)
        .bind(streams)
        .bind(added)
        .bind(expected)
        .bind(appends)
        .bind(ids);
    let query = events.bind(query);
    let query = query
        .bind(claims.iter().map(|claim| text(claim.scope())).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| text(claim.key())).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| text(claim.holder().name())).collect::<Vec<_>>())
        .bind(claims.iter().map(|one| one.change() == ClaimChange::Take).collect::<Vec<_>>());
    let alternatives = || {
        let all = batch.unless.iter();
        all.flat_map(|one| one.criteria.alternatives().iter().map(|other| (one.after, other)))
    };
    let after = |(after, _): (es_core::Position, _)| i64::try_from(after.get()).unwrap_or(i64::MAX);
    Ok(query
        .bind(alternatives().map(after).collect::<Vec<_>>())
        .bind(alternatives().map(|(_, one)| one.types.join("\n")).collect::<Vec<_>>())
        .bind(
            alternatives()
                .map(|(_, one)| joined(&one.tags).unwrap_or_default())
                .collect::<Vec<_>>(),
        )
        .bind(folded.to_vec()))
}

pub(crate) const APPEND_ONE: &str = "SELECT outcome, number, holder, versions, positions \
     FROM {schema}.append_one({store}, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
     $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)";
