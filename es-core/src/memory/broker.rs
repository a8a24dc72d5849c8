//! stub
/// stub
#[derive(Debug, Default, Clone)]
pub struct MemoryBroker;
