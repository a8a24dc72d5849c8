//! The bounds that every store shares, each with its name.
//!
//! A name, payload or batch that one store takes and another refuses would be
//! a bug, so the bounds stand here, and [`Batch::check`](crate::Batch::check)
//! asks for them before any store does work.

/// Longest name of a stream, tenant, event type or tag, in bytes.
pub const NAME_BYTES: usize = 255;
/// Largest payload of one event, in bytes.
pub const PAYLOAD_BYTES: usize = 1024 * 1024;
/// Largest encoded metadata of one event, in bytes.
pub const METADATA_BYTES: usize = 64 * 1024;
/// Most events in one batch.
pub const BATCH_EVENTS: usize = 1_000;
/// Largest sum of the payloads of one batch, in bytes.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most tags on one event.
pub const TAGS: usize = 32;
/// Deepest nesting of a JSON payload.
pub const JSON_DEPTH: usize = 64;
/// Most unseen events that a conflict carries back; with more, read them.
pub const CONFLICT_EVENTS: usize = 1_000;
/// Most events that a store hands over in one page. A page that fits the
/// processor's cache is still there when its reader comes to it.
pub const PAGE_EVENTS: usize = 256;
/// How many places behind a checkpoint, and before the end of the log, a
/// [`Lag`](crate::Lag) is sure of.
pub const LAG_POSITIONS: u64 = 10_000;

/// Most events that are folded while a model begins to change with each append, during which
/// nobody appends.
pub const INLINE_CATCH_UP: usize = 10_000;
