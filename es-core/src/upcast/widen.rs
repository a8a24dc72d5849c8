use std::collections::{BTreeSet, HashMap};

use super::{rules::Rules, upcasters::Rule};
use crate::{Criteria, Name, Read, Scope};

impl Rules {
    /// The same request, for every event that may become one that it asks for.
    pub(super) fn widen(&self, read: &Read) -> Read {
        let mut wide = read.clone();
        wide.types = self.widen_types(&read.types);
        if let Scope::Matching(criteria) = &read.scope {
            wide.scope = Scope::Matching(self.widen_criteria(criteria));
        }
        wide
    }

    /// Criteria that are met by every event that may become one that meets
    /// `criteria`.
    pub(super) fn widen_criteria(&self, criteria: &Criteria) -> Criteria {
        let wide = criteria.alternatives().iter().map(|one| {
            let types = Criteria::types(self.widen_types(&one.types));
            one.tags.iter().cloned().fold(types, Criteria::and)
        });
        wide.reduce(Criteria::or).unwrap_or_else(|| criteria.clone())
    }

    /// Whether an event that the widened request finds may become one that
    /// `read` does not ask for.
    pub(super) fn sift(&self, read: &Read) -> bool {
        let of_criteria = match &read.scope {
            Scope::Matching(criteria) => criteria.alternatives(),
            _ => &[],
        };
        let types = of_criteria.iter().flat_map(|one| &one.types).chain(&read.types);
        types.into_iter().any(|name| self.sources.contains_key(name) || self.leaves(name))
    }

    fn widen_types(&self, types: &[Name]) -> Vec<Name> {
        let mut wide = types.to_vec();
        for source in types.iter().filter_map(|name| self.sources.get(name)).flatten() {
            if !wide.contains(source) {
                wide.push(source.clone());
            }
        }
        wide
    }

    /// Whether events of this type may become events of another.
    fn leaves(&self, name: &Name) -> bool {
        let mut rules = self.by_type.get(name).into_iter().flatten();
        rules.any(|(_, rule)| !matches!(rule, Rule::Lift(_)))
    }
}

/// For each type that the rules lead to, all other types that they lead from,
/// through however many steps.
pub(super) fn sources(rules: &Rules) -> HashMap<Name, Vec<Name>> {
    let mut direct: HashMap<Name, BTreeSet<Name>> = HashMap::new();
    for (name, of_type) in &rules.by_type {
        for version in of_type.keys().flatten() {
            for (output, _) in rules.outputs(&(name.clone(), *version)) {
                direct.entry(output).or_default().insert(name.clone());
            }
        }
    }
    let all = direct.keys().map(|output| (output.clone(), reach(&direct, output)));
    all.filter(|(_, sources)| !sources.is_empty()).collect()
}

fn reach(direct: &HashMap<Name, BTreeSet<Name>>, output: &Name) -> Vec<Name> {
    let mut found = vec![output.clone()];
    let mut at = 0;
    while let Some(sources) = found.get(at).map(|name| direct.get(name)) {
        for source in sources.into_iter().flatten() {
            if !found.contains(source) {
                found.push(source.clone());
            }
        }
        at += 1;
    }
    found.split_off(1)
}
