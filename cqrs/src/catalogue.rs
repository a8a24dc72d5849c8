use std::any::{TypeId, type_name};

use dashmap::{DashMap, Entry};
use es_core::{Event, event_names};
use thiserror::Error;

/// Which type of the program writes which event name.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    claims: DashMap<String, (TypeId, &'static str)>,
}

/// Two types of the program claim one event name: rename one of them.
///
/// ```
/// use cqrs::NameClaimedTwice;
///
/// let twice = NameClaimedTwice { name: "account.opened".into(), first: "Bank", second: "Club" };
/// assert!(twice.to_string().contains("Bank"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name} is the name of an event of {first} and of {second}, rename one of them")]
pub struct NameClaimedTwice {
    /// The name.
    pub name: String,
    /// The type that had it first.
    pub first: &'static str,
    /// The type that wants it too.
    pub second: &'static str,
}

impl Catalogue {
    /// Notes that `E` writes its names.
    pub(crate) fn claim<E: Event>(&self) -> Result<(), NameClaimedTwice> {
        let mine = (TypeId::of::<E>(), type_name::<E>());
        // What the store itself writes may be known to any of them.
        for name in event_names::<E>().filter(|name| !name.starts_with("gesta.")) {
            match self.claims.entry(name.to_string()) {
                Entry::Occupied(other) if other.get().0 != mine.0 => {
                    let name = name.to_string();
                    return Err(NameClaimedTwice { name, first: other.get().1, second: mine.1 });
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => {
                    place.insert(mine);
                }
            }
        }
        Ok(())
    }
}
