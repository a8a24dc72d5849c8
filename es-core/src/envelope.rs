use crate::{ContentType, InvalidBatch, Metadata, Name, Tag, limits};

/// What has a bound, of an event that is new or recorded.
pub(crate) struct Envelope<'e> {
    pub(crate) event_type: &'e Name,
    pub(crate) content_type: &'e ContentType,
    pub(crate) tags: &'e [Tag],
    pub(crate) metadata: &'e Metadata,
    pub(crate) payload: &'e [u8],
}

impl Envelope<'_> {
    pub(crate) fn check(&self) -> Result<(), InvalidBatch> {
        let event_type = || self.event_type.to_string();
        if self.payload.len() > limits::PAYLOAD_BYTES {
            let bytes = self.payload.len();
            return Err(InvalidBatch::PayloadTooLarge { event_type: event_type(), bytes });
        }
        if self.tags.len() > limits::TAGS {
            let tags = self.tags.len();
            return Err(InvalidBatch::TooManyTags { event_type: event_type(), tags });
        }
        let bytes = self.metadata.approximate_bytes();
        if bytes > limits::METADATA_BYTES {
            return Err(InvalidBatch::MetadataTooLarge { event_type: event_type(), bytes });
        }
        if *self.content_type == ContentType::JSON && too_deep(self.payload) {
            return Err(InvalidBatch::TooDeep { event_type: event_type() });
        }
        Ok(())
    }
}

/// Whether brackets nest deeper than [`limits::JSON_DEPTH`]. `{` and `[` differ
/// in one bit, so the common case is one pass of counting.
fn too_deep(json: &[u8]) -> bool {
    if brackets(json) <= limits::JSON_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    json.iter().any(|byte| {
        match (byte, in_string) {
            _ if escaped => escaped = false,
            (b'\\', true) => escaped = true,
            (b'"', _) => in_string = !in_string,
            (b'{' | b'[', false) => depth += 1,
            (b'}' | b']', false) => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > limits::JSON_DEPTH
    })
}

/// Counts opening brackets; in short runs, which compile to vector code.
fn brackets(json: &[u8]) -> usize {
    let in_run = |run: &[u8]| run.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(128).map(|run| usize::from(in_run(run))).sum()
}
