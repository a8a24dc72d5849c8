//! Who gets what is published to a topic, as far as this process knows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use es_core::{Group, Topic, TopicPattern};
use parking_lot::Mutex;

/// The topics of which the groups are remembered.
const TOPICS: usize = 10_000;
/// What the version stands under in the registry; no group is called that.
const VERSION: &str = ":version";

/// The groups and their patterns, of one version of the registry. What is published with it
/// is refused if there is another one.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<Known>);

#[derive(Debug)]
struct Known {
    version: String,
    patterns: Vec<(TopicPattern, Group)>,
    routes: HashMap<Topic, Arc<[Group]>>,
}

impl Routes {
    /// The groups that listen to this topic, and the version that says so.
    pub(super) fn of(&self, topic: &Topic) -> (String, Arc<[Group]>) {
        let mut known = self.0.lock();
        let route = known.route(topic);
        (known.version.clone(), route)
    }

    /// What the registry says. What cannot be read listens to nothing.
    pub(super) fn learn(&self, registry: BTreeMap<String, String>) {
        let mut known = Known::default();
        for (group, patterns) in registry {
            if group == VERSION {
                known.version = patterns;
                continue;
            }
            let Ok(group) = Group::new(group) else { continue };
            let patterns = patterns.split(' ').filter_map(|text| TopicPattern::new(text).ok());
            known.patterns.extend(patterns.map(|pattern| (pattern, group.clone())));
        }
        *self.0.lock() = known;
    }
}

impl Default for Known {
    fn default() -> Self {
        Self { version: "0".into(), patterns: Vec::new(), routes: HashMap::new() }
    }
}

impl Known {
    fn route(&mut self, topic: &Topic) -> Arc<[Group]> {
        if let Some(route) = self.routes.get(topic) {
            return Arc::clone(route);
        }
        let listens = self.patterns.iter().filter(|(pattern, _)| pattern.matches(topic));
        // The patterns of a group stand together.
        let mut groups: Vec<_> = listens.map(|(_, group)| group.clone()).collect();
        groups.dedup();
        if self.routes.len() >= TOPICS {
            self.routes.clear();
        }
        let route: Arc<[_]> = groups.into();
        self.routes.insert(topic.clone(), Arc::clone(&route));
        route
    }
}
