use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Group, Topic};

/// Where a message goes: to all who listen to a topic, or to one group.
///
/// ```
/// use es_core::{Address, Group, Topic};
///
/// assert_eq!(Address::from(Topic::new("order.placed")?).to_string(), "topic order.placed");
/// assert_eq!(Address::from(Group::new("mails")?).to_string(), "queue mails");
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// To every group with a pattern that matches this topic.
    Topic(Topic),
    /// To this group alone, which is made if it is not there yet: its queue.
    Queue(Group),
}

impl From<Topic> for Address {
    fn from(topic: Topic) -> Self {
        Self::Topic(topic)
    }
}

impl From<Group> for Address {
    fn from(group: Group) -> Self {
        Self::Queue(group)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => write!(f, "topic {topic}"),
            Self::Queue(group) => write!(f, "queue {group}"),
        }
    }
}
