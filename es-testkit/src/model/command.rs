use es_core::{Batch, Criteria, Direction, Name, Read, Version, Write};
use proptest::{collection::vec, prelude::*, sample::select};
use uuid::Uuid;

use crate::strategy;

/// One thing to do with a store.
///
/// ```
/// use es_testkit::model::Command;
///
/// assert_eq!(format!("{:?}", Command::Reopen), "Reopen");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Append this.
    Append(Batch),
    /// Read this.
    Read(Read),
    /// Close the store and open it again.
    Reopen,
}

/// Up to `most` commands: appends in every mode, with and without ids, of which
/// there are so few that they repeat; reads of every kind; reopenings.
///
/// ```
/// use es_testkit::model::commands;
/// use proptest::prelude::*;
///
/// proptest!(|(commands in commands(5))| prop_assert!(commands.len() <= 5));
/// ```
pub fn commands(most: usize) -> impl Strategy<Value = Vec<Command>> {
    let command = prop_oneof![
        6 => append().prop_map(Command::Append),
        5 => read().prop_map(Command::Read),
        1 => Just(Command::Reopen),
    ];
    vec(command, 1..=most)
}

/// Appends bear one of ten ids, so that many are retries.
fn append() -> impl Strategy<Value = Batch> {
    let id = || proptest::option::of(1..=10_u128);
    (strategy::batch(), id(), proptest::option::weighted(0.25, (strategy::batch(), id()))).prop_map(
        |(batch, id, folded)| {
            let mut writes: Vec<Write> = with_id(batch, id);
            if let Some((second, other)) = folded {
                writes.extend(with_id(second, other.filter(|other| Some(*other) != id)));
            }
            Batch::new(writes)
        },
    )
}

fn with_id(batch: Batch, id: Option<u128>) -> Vec<Write> {
    match id {
        Some(id) => batch.append_id(Uuid::from_u128(id).into()).writes,
        None => batch.writes,
    }
}

fn scope() -> impl Strategy<Value = Read> {
    prop_oneof![
        Just(Read::all()),
        strategy::stream().prop_map(|stream| Read::stream(&stream)),
        (strategy::stream(), 0..6_u64)
            .prop_map(|(stream, after)| Read::stream(&stream).after_version(Version::new(after))),
        select(vec!["account", "order", "acc"])
            .prop_map(|name| Read::category(name).expect("a category")),
        strategy::tag().prop_map(|tag| Read::matching(Criteria::tag(tag))),
        (strategy::tag(), strategy::tag())
            .prop_map(|(one, two)| Read::matching(Criteria::tag(one).or(Criteria::tag(two)))),
        (1..=10_u128).prop_map(|id| Read::append(Uuid::from_u128(id).into())),
    ]
}

fn read() -> impl Strategy<Value = Read> {
    let types = vec(select(vec!["opened", "closed"]).prop_map(Name::from_static), 0..3);
    let tags = vec(strategy::tag(), 0..2);
    let limit = proptest::option::of(0..6_u64);
    (scope(), types, tags, limit, any::<bool>()).prop_map(|(read, types, tags, limit, back)| {
        let mut read = tags.into_iter().fold(read.types(types), Read::tag);
        read.limit = limit;
        if back {
            read.direction = Direction::Backwards;
        }
        read
    })
}
