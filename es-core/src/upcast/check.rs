use std::collections::HashMap;

use thiserror::Error;

use super::{
    rules::Rules,
    upcasters::{Key, Rule, Upcasters},
    widen,
};
use crate::{Name, retention::RESERVED};

/// Most rules that one event goes through, one after another.
const STEPS: usize = 64;
/// Most events that one rule joins.
const RUN_EVENTS: usize = 64;

/// Why a set of rules cannot be followed; a mistake of the program.
///
/// ```
/// use es_core::{Name, UpcastError, Upcasters, Upcasting, memory::MemoryStore};
///
/// let opened = Name::from_static("account.opened");
/// let twice = Upcasters::new()
///     .one_to_one(opened.clone(), 1, |data| Ok(data))
///     .one_to_one(opened, 1, |data| Ok(data));
/// let error = Upcasting::new(MemoryStore::new(), twice).unwrap_err();
/// assert!(matches!(error, UpcastError::Twice { schema_version: 1, .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UpcastError {
    /// Two rules for one type and version: merge them.
    #[error("there are two rules for {event_type} version {schema_version}, merge them")]
    Twice {
        /// The type.
        event_type: Name,
        /// The version of its schema.
        schema_version: u32,
    },
    /// A type that is dropped whatever its version has another rule too.
    #[error("{event_type} is dropped whatever its version, remove its other rules")]
    Dropped {
        /// The type.
        event_type: Name,
    },
    /// What the store itself writes is read as it is.
    #[error("{event_type} is the store's own, remove the rules for it")]
    Marker {
        /// The type.
        event_type: Name,
    },
    /// A run that is too short to join or too long to look for.
    #[error("a run has 2 to {RUN_EVENTS} events, this one has {events}")]
    RunLength {
        /// How many it has.
        events: usize,
    },
    /// A run is found among recorded events, so no other rule may make its
    /// members.
    #[error(
        "a rule makes {event_type} version {schema_version}, which another joins: do both in one"
    )]
    MemberMade {
        /// The type.
        event_type: Name,
        /// The version of its schema.
        schema_version: u32,
    },
    /// Rules that lead back to where they began.
    #[error("the rules go in a circle: {}", arrows(path))]
    Circle {
        /// The types and versions that the circle goes through.
        path: Vec<(Name, u32)>,
    },
    /// More steps than anybody should wait for at each read.
    #[error("more than {STEPS} rules follow {event_type} version {schema_version}, merge some")]
    TooManySteps {
        /// The type.
        event_type: Name,
        /// The version of its schema.
        schema_version: u32,
    },
}

impl Upcasters {
    /// The rules in the form in which they are looked up, if all of them can be
    /// followed to an end.
    pub(super) fn check(self) -> Result<Rules, UpcastError> {
        let keys =
            self.rules.iter().filter_map(|(name, version, _)| Some((name.clone(), (*version)?)));
        let keys: Vec<Key> = keys.collect();
        let mut rules = Rules { runs: self.runs, ..Rules::default() };
        check_lengths(&rules)?;
        for (event_type, version, rule) in self.rules {
            insert(&mut rules, event_type, version, rule)?;
        }
        check_members(&rules, &keys)?;
        let mut known = HashMap::new();
        for key in &keys {
            steps(&rules, key, &mut Vec::new(), &mut known)?;
        }
        rules.sources = widen::sources(&rules);
        Ok(rules)
    }
}

fn check_lengths(rules: &Rules) -> Result<(), UpcastError> {
    let mut lengths = rules.runs.iter().map(|run| run.members.len());
    match lengths.find(|length| !(2..=RUN_EVENTS).contains(length)) {
        Some(events) => Err(UpcastError::RunLength { events }),
        None => Ok(()),
    }
}

fn insert(
    rules: &mut Rules,
    event_type: Name,
    version: Option<u32>,
    rule: Rule,
) -> Result<(), UpcastError> {
    if event_type.starts_with(RESERVED) {
        return Err(UpcastError::Marker { event_type });
    }
    let of_type = rules.by_type.entry(event_type.clone()).or_default();
    if of_type.contains_key(&None) || (version.is_none() && !of_type.is_empty()) {
        return Err(UpcastError::Dropped { event_type });
    }
    match (of_type.insert(version, rule), version) {
        (Some(_), Some(schema_version)) => Err(UpcastError::Twice { event_type, schema_version }),
        _ => Ok(()),
    }
}

fn check_members(rules: &Rules, keys: &[Key]) -> Result<(), UpcastError> {
    let other_rules =
        keys.iter().filter(|key| !matches!(rules.find(&key.0, key.1), Some(Rule::Lift(_))));
    for (event_type, schema_version) in other_rules.flat_map(|key| rules.outputs(key)) {
        if rules.member(&event_type, schema_version).is_some() {
            return Err(UpcastError::MemberMade { event_type, schema_version });
        }
    }
    Ok(())
}

/// How many steps the rules take from `key`; `path` is how it was reached.
fn steps(
    rules: &Rules,
    key: &Key,
    path: &mut Vec<Key>,
    known: &mut HashMap<Key, usize>,
) -> Result<usize, UpcastError> {
    if let Some(steps) = known.get(key) {
        return Ok(*steps);
    }
    if let Some(at) = path.iter().position(|passed| passed == key) {
        return Err(UpcastError::Circle { path: path[at..].to_vec() });
    }
    path.push(key.clone());
    let mut longest = 0;
    for next in rules.outputs(key) {
        // A path that is too long ends here, so that a long chain of rules does
        // not become a deep recursion.
        let rest = if path.len() > STEPS { STEPS } else { steps(rules, &next, path, known)? };
        longest = longest.max(1 + rest);
    }
    path.pop();
    if longest > STEPS {
        let (event_type, schema_version) = key.clone();
        return Err(UpcastError::TooManySteps { event_type, schema_version });
    }
    known.insert(key.clone(), longest);
    Ok(longest)
}

fn arrows(path: &[Key]) -> String {
    let steps = path.iter().chain(path.first()).map(|(name, version)| format!("{name} v{version}"));
    steps.collect::<Vec<_>>().join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::{super::tests::*, *};
    use crate::{Upcasting, memory::MemoryStore};

    fn refused(upcasters: Upcasters) -> UpcastError {
        Upcasting::new(MemoryStore::new(), upcasters).unwrap_err()
    }

    #[test]
    fn two_rules_for_one_type_and_version_are_refused() {
        let twice = UpcastError::Twice { event_type: B, schema_version: 1 };
        assert_eq!(refused(upcasters().one_to_one(B, 1, Ok)), twice);
        let run = Upcasters::new().many_to_one([(B, 1), (B, 1)], (C, 1), |_| Err("unused".into()));
        assert_eq!(refused(run), twice);
    }

    #[test]
    fn a_dropped_type_may_not_have_another_rule() {
        let dropped = UpcastError::Dropped { event_type: D };
        assert_eq!(refused(upcasters().one_to_one(D, 1, Ok)), dropped);
        assert_eq!(refused(Upcasters::new().one_to_one(D, 1, Ok).dropping(D)), dropped);
    }

    #[test]
    fn a_rule_for_a_marker_is_refused() {
        let marker = UpcastError::Marker { event_type: crate::TRUNCATED };
        assert_eq!(refused(Upcasters::new().dropping(crate::TRUNCATED)), marker);
    }

    #[test]
    fn rules_that_go_in_a_circle_are_refused() {
        let circle = Upcasters::new()
            .one_to_one(A, 1, Ok)
            .one_to_many(A, 2, [(Y, 1), (B, 1)], |_| Ok(vec![]))
            .one_to_many(B, 1, [(A, 1)], |_| Ok(vec![]));
        assert_eq!(
            refused(circle).to_string(),
            "the rules go in a circle: a v1 -> a v2 -> b v1 -> a v1"
        );
        let last = Upcasters::new().one_to_one(A, u32::MAX, Ok);
        assert!(matches!(refused(last), UpcastError::Circle { .. }));
    }

    #[test]
    fn a_chain_of_rules_ends_after_64_steps() {
        let chain = |versions| {
            let versions = (1..=versions).rev();
            versions.fold(Upcasters::new(), |rules, version| rules.one_to_one(A, version, Ok))
        };
        assert!(Upcasting::new(MemoryStore::new(), chain(64)).is_ok());
        let long = UpcastError::TooManySteps { event_type: A, schema_version: 1 };
        assert_eq!(refused(chain(65)), long);
        let forwards =
            (1..100_000).fold(Upcasters::new(), |rules, version| rules.one_to_one(A, version, Ok));
        assert!(matches!(refused(forwards), UpcastError::TooManySteps { .. }));
    }

    #[test]
    fn a_run_has_2_to_64_members() {
        let run = |members: u32| {
            let members = (1..=members).map(|version| (A, version));
            Upcasters::new().many_to_one(members, (C, 1), |_| Err("unused".into()))
        };
        assert_eq!(refused(run(1)), UpcastError::RunLength { events: 1 });
        assert_eq!(refused(run(65)), UpcastError::RunLength { events: 65 });
        assert!(Upcasting::new(MemoryStore::new(), run(64)).is_ok());
    }

    #[test]
    fn a_member_of_a_run_may_not_come_out_of_another_rule() {
        let rules = upcasters().one_to_many(Y, 1, [(A, 1)], |_| Ok(vec![]));
        let made = UpcastError::MemberMade { event_type: A, schema_version: 1 };
        assert_eq!(refused(rules), made);
    }
}
