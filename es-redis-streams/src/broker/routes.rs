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

/// Who gets some messages, and the version of the registry that says so; none for a queue,
/// which needs nobody to say so.
#[derive(Debug, Default)]
pub(super) struct Route {
    pub(super) version: String,
    /// Each group with the places of its messages, from 1 and with a comma behind each;
    /// without any it gets all.
    pub(super) groups: Vec<(Group, Option<String>)>,
}

impl Route {
    pub(super) fn to_queue(group: &Group) -> Self {
        Self { version: String::new(), groups: vec![(group.clone(), None)] }
    }
}

impl Routes {
    /// The groups that listen to these topics, of one message each.
    pub(super) fn of(&self, topics: &[Topic]) -> Route {
        let mut known = self.0.lock();
        let version = known.version.clone();
        if let Some((first, others)) = topics.split_first()
            && others.iter().all(|topic| topic == first)
        {
            let route = known.route(first);
            return Route {
                version,
                groups: route.iter().map(|one| (one.clone(), None)).collect(),
            };
        }
        let mut groups: BTreeMap<Group, String> = BTreeMap::new();
        for (at, topic) in topics.iter().enumerate() {
            for group in &*known.route(topic) {
                let places = groups.entry(group.clone()).or_default();
                places.push_str(&(at + 1).to_string());
                places.push(',');
            }
        }
        let groups = groups.into_iter().map(|(group, places)| (group, Some(places)));
        Route { version, groups: groups.collect() }
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
