//! Whether a server can be trusted with read models and messages.

use es_core::{StoreError, StoreErrorKind};
use tracing::warn;

use crate::connection::Connection;

/// The first version that knows what the scripts need.
const OLDEST: u64 = 7;

/// Refuses a server that is too old, or that throws away single keys when its memory is
/// full. One that does not tell is taken.
pub(crate) async fn check(connection: &Connection) -> Result<(), StoreError> {
    let about = match connection.ask::<String>(&redis::cmd("INFO")).await {
        Ok(about) => about,
        Err(error) if error.kind() == StoreErrorKind::Other => {
            warn!(%error, "the server does not tell whether it evicts keys: its `maxmemory-policy` must be `noeviction`");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let refuse = |why| Err(StoreError::new(StoreErrorKind::Unsupported, why));
    if let Some(version) = field("redis_version:") {
        let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
        if major.is_some_and(|major| major < OLDEST) {
            return refuse(format!("this needs Redis {OLDEST}.0, the server is {version}"));
        }
    }
    match field("maxmemory_policy:") {
        Some(policy) if policy.starts_with("allkeys-") => refuse(format!(
            "the server may throw away single rows and messages: its `maxmemory-policy` is {policy}, \
             set it to `noeviction`, or give them a server of their own"
        )),
        _ => Ok(()),
    }
}
