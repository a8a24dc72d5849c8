use std::fmt::Display;

use es_core::{Group, Kind, Name};

/// How things are called in the server. The braces keep all keys of a prefix
/// together.
#[derive(Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: format!("{{{prefix}}}") }
    }

    pub(crate) fn answer(&self, key: &str) -> String {
        format!("{}:answer:{key}", self.prefix)
    }

    pub(crate) fn tag(&self, tag: &str) -> String {
        format!("{}:tag:{tag}", self.prefix)
    }

    /// The tag that every answer bears.
    pub(crate) fn everything(&self) -> String {
        format!("{}:everything", self.prefix)
    }

    /// The stream of invalidations.
    pub(crate) fn invalidations(&self) -> String {
        format!("{}:invalidations", self.prefix)
    }

    /// The builds of a read model, and their parts.
    pub(crate) fn model(&self, model: &Name) -> String {
        format!("{}:model:{model}", self.prefix)
    }

    /// What the names of its rows begin with, and of their ids in order; behind that comes
    /// the number of the build.
    pub(crate) fn rows(&self, kind: Kind, model: &Name) -> [String; 2] {
        let (rows, ids) = match kind {
            Kind::Row => ("rows", "row-ids"),
            Kind::Parked => ("parked", "parked-ids"),
        };
        [rows, ids].map(|what| format!("{}:{what}:{model}", self.prefix))
    }

    /// What a projection writes by itself.
    pub(crate) fn own(&self, name: impl Display) -> String {
        format!("{}:own:{name}", self.prefix)
    }

    /// What all the names of a group begin with; its hash has this one.
    pub(crate) fn group(&self, group: &Group) -> String {
        format!("{}:group:{group}", self.prefix)
    }

    /// Who listens to what.
    pub(crate) fn registry(&self) -> String {
        format!("{}:groups", self.prefix)
    }

    /// The last messages of all topics.
    pub(crate) fn history(&self) -> String {
        format!("{}:history", self.prefix)
    }
}
