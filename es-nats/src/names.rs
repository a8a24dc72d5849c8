use es_core::{Group, Message, Topic, TopicPattern};

/// The names of everything that belongs to one prefix.
///
/// What is fixed comes first in a subject and what has dots in it last, so that no group
/// is taken for the beginning of another.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
    pub(crate) partitions: u32,
}

/// Where a message stands in the stream of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot<'a> {
    pub(crate) partition: u32,
    pub(crate) to: To<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To<'a> {
    Topic(&'a str),
    Group(&'a str),
}

impl Names {
    pub(crate) fn new(prefix: String, partitions: u32) -> Self {
        Self { prefix, partitions }
    }

    /// The stream of all messages.
    pub(crate) fn messages(&self) -> &str {
        &self.prefix
    }

    /// The stream of what is known about groups, which keeps the last of each subject.
    pub(crate) fn state(&self) -> String {
        format!("{}_state", self.prefix)
    }

    pub(crate) fn every_message(&self) -> String {
        format!("{}.m.>", self.prefix)
    }

    pub(crate) fn every_state(&self) -> String {
        format!("{}.s.>", self.prefix)
    }

    pub(crate) fn topic(&self, partition: u32, topic: &Topic) -> String {
        format!("{}.m.t.{partition}.{topic}", self.prefix)
    }

    pub(crate) fn group(&self, partition: u32, group: &Group) -> String {
        format!("{}.m.g.{partition}.{group}", self.prefix)
    }

    pub(crate) fn topics_like(&self, pattern: &TopicPattern) -> String {
        let prefix = &self.prefix;
        match pattern.as_str() {
            "*" | "**" => format!("{prefix}.m.t.*.>"),
            text => match text.strip_suffix("**") {
                Some(front) => format!("{prefix}.m.t.*.{front}>"),
                None => format!("{prefix}.m.t.*.{text}"),
            },
        }
    }

    pub(crate) fn all_of_group(&self, group: &Group) -> String {
        format!("{}.m.g.*.{group}", self.prefix)
    }

    pub(crate) fn about(&self) -> String {
        format!("{}.s.about", self.prefix)
    }

    pub(crate) fn charter(&self, group: &Group) -> String {
        format!("{}.s.g.{group}", self.prefix)
    }

    pub(crate) fn progress(&self, unit: u32, group: &Group) -> String {
        format!("{}.s.p.{unit}.{group}", self.prefix)
    }

    pub(crate) fn all_progress(&self, group: &Group) -> String {
        format!("{}.s.p.*.{group}", self.prefix)
    }

    pub(crate) fn letter(&self, id: u64, group: &Group) -> String {
        format!("{}.s.d.{id}.{group}", self.prefix)
    }

    pub(crate) fn letters(&self, group: &Group) -> String {
        format!("{}.s.d.*.{group}", self.prefix)
    }

    /// The number in the subject of a dead letter.
    pub(crate) fn letter_id(&self, subject: &str) -> Option<u64> {
        let rest = subject.strip_prefix(self.prefix.as_str())?.strip_prefix(".s.d.")?;
        rest.split('.').next()?.parse().ok()
    }

    /// Where it is said, and kept by nobody, that a group has changed.
    pub(crate) fn hint(&self, group: &Group) -> String {
        format!("{}.h.{group}", self.prefix)
    }

    pub(crate) fn read<'a>(&self, subject: &'a str) -> Option<Spot<'a>> {
        let rest = subject.strip_prefix(self.prefix.as_str())?.strip_prefix(".m.")?;
        let (kind, rest) = rest.split_once('.')?;
        let (partition, name) = rest.split_once('.')?;
        let partition = partition.parse::<u32>().ok()? % self.partitions;
        match kind {
            "t" => Some(Spot { partition, to: To::Topic(name) }),
            "g" => Some(Spot { partition, to: To::Group(name) }),
            _ => None,
        }
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

    fn names() -> Names {
        Names::new("shop".into(), 16)
    }

    #[test]
    fn what_is_written_is_read() {
        let topic = Topic::new("order.placed").expect("a topic");
        let spot = Spot { partition: 3, to: To::Topic("order.placed") };
        assert_eq!(names().read(&names().topic(3, &topic)), Some(spot));
        let group = Group::new("a.b").expect("a group");
        let spot = Spot { partition: 0, to: To::Group("a.b") };
        assert_eq!(names().read(&names().group(0, &group)), Some(spot));
        assert_eq!(names().letter_id(&names().letter(7, &group)), Some(7));
        assert_eq!(names().read("shopping.m.t.1.a"), None);
    }

    #[test]
    fn a_pattern_is_written_as_the_server_reads_it() {
        let written =
            |pattern: &str| names().topics_like(&TopicPattern::new(pattern).expect("a pattern"));
        assert_eq!(written("*"), "shop.m.t.*.>");
        assert_eq!(written("a.*.b"), "shop.m.t.*.a.*.b");
        assert_eq!(written("a.**"), "shop.m.t.*.a.>");
    }

    #[test]
    fn the_partition_of_a_key_never_changes() {
        assert_eq!(fnv(["default", "ada"]), 0x24f5_48b9_775e_bc9e);
        assert_ne!(fnv(["default", "ada"]), fnv(["defaulta", "da"]));
    }
}
