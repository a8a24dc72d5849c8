use es_core::{AppendId, Metadata, Tenant};

/// What goes along with a command: whose it is, what is known about it, and
/// the id by which a repetition is noticed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    pub(crate) tenant: Tenant,
    pub(crate) metadata: Metadata,
    pub(crate) command_id: Option<AppendId>,
}
