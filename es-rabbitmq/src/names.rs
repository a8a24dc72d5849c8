use es_core::{Group, Message, Order, Topic, TopicPattern};

/// Most bytes of a name or a key on the server.
const SHORT: usize = 255;

/// The names of everything that belongs to one prefix.
///
/// What is fixed comes first in a name and what has dots in it last, so that no group is
/// taken for the beginning of another.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
    pub(crate) partitions: u32,
}

impl Names {
    pub(crate) fn new(prefix: String, partitions: u32) -> Self {
        Self { prefix, partitions }
    }

    /// The exchange to which topics are published.
    pub(crate) fn topics(&self) -> &str {
        &self.prefix
    }

    /// The exchange to which is published what goes to one group.
    pub(crate) fn groups(&self) -> String {
        format!("{}.groups", self.prefix)
    }

    /// The exchange that says what all programs have to agree on.
    pub(crate) fn about(&self) -> String {
        format!("{}.about", self.prefix)
    }

    /// What it says.
    pub(crate) fn agreement(&self) -> String {
        format!("{}.1.{}", self.prefix, self.partitions)
    }

    /// The exchange that says what the members of a group have to agree on.
    pub(crate) fn charter(&self, group: &Group) -> String {
        format!("{}.c.{group}", self.prefix)
    }

    /// What it says.
    pub(crate) fn charted(&self, order: Order, parks: bool) -> String {
        let order = match order {
            Order::None => "none",
            Order::Key => "key",
            Order::Whole => "whole",
        };
        format!("{}.{order}.{}", self.prefix, if parks { "parks" } else { "goes-on" })
    }

    /// The queue of what waits in one partition of a group.
    pub(crate) fn queue(&self, partition: u32, group: &Group) -> String {
        format!("{}.g.{partition}.{group}", self.prefix)
    }

    /// The queue that whoever has it declared for itself while it has the partition.
    pub(crate) fn owner(&self, partition: u32, group: &Group) -> String {
        format!("{}.o.{partition}.{group}", self.prefix)
    }

    /// The queue that each process of a group listens to, so that they can be counted.
    pub(crate) fn processes(&self, group: &Group) -> String {
        format!("{}.m.{group}", self.prefix)
    }

    /// The stream of what became of dead letters.
    pub(crate) fn letters(&self, group: &Group) -> String {
        format!("{}.l.{group}", self.prefix)
    }

    /// With which key a message is published to a topic.
    pub(crate) fn topic_key(partition: u32, topic: &Topic) -> String {
        format!("{partition}.{topic}")
    }

    /// With which key a message is published to a group.
    pub(crate) fn group_key(partition: u32, group: &Group) -> String {
        format!("{partition}.{group}")
    }

    /// What a queue is bound with that shall have what matches; of one partition, or of all.
    pub(crate) fn binding(partition: Option<u32>, pattern: &TopicPattern) -> String {
        let partition = partition.map_or_else(|| "*".to_owned(), |number| number.to_string());
        match pattern.as_str() {
            "*" | "**" => format!("{partition}.#"),
            text => match text.strip_suffix("**") {
                Some(front) => format!("{partition}.{front}*.#"),
                None => format!("{partition}.{text}"),
            },
        }
    }

    /// The first of these patterns that is too long for the server, with its partition.
    pub(crate) fn too_long<'a>(&self, patterns: &'a [TopicPattern]) -> Option<&'a TopicPattern> {
        let is_long = |pattern: &&TopicPattern| {
            Self::binding(Some(self.partitions - 1), pattern).len() > SHORT
        };
        patterns.iter().find(is_long)
    }

    /// The partition of this message: that of its tenant and key, or any one.
    pub(crate) fn partition(&self, message: &Message) -> u32 {
        let hash = match &message.key {
            Some(key) => fnv([message.tenant.as_str(), key]),
            None => fnv(["", &message.id]),
        };
        u32::try_from(hash % u64::from(self.partitions)).expect("it is less than a u32")
    }
}

/// FNV-1a (RFC 9923): programs of every version have to agree about it.
fn fnv(parts: [&str; 2]) -> u64 {
    let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_written_as_the_server_reads_it() {
        let written = |partition, pattern| {
            Names::binding(partition, &TopicPattern::new(pattern).expect("a pattern"))
        };
        assert_eq!(written(Some(3), "*"), "3.#");
        assert_eq!(written(Some(3), "a.*.b"), "3.a.*.b");
        assert_eq!(written(None, "a.**"), "*.a.*.#");
    }

    #[test]
    fn the_partition_of_a_key_never_changes() {
        assert_eq!(fnv(["default", "ada"]), 0x24f5_48b9_775e_bc9e);
        assert_ne!(fnv(["default", "ada"]), fnv(["defaulta", "da"]));
    }

    #[test]
    fn the_longest_names_fit() {
        let names = Names::new("p".repeat(crate::options::PREFIX_BYTES), 1_024);
        let group = Group::new("g".repeat(200)).expect("a group");
        assert!(names.queue(1_023, &group).len() <= 255);
    }
}
