use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The time after so long, or the last there is.
pub(crate) fn after(now: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
    let time = TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(time).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The time so long before, or the first there is.
pub(crate) fn before(now: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
    let time = TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
    now.checked_sub_signed(time).unwrap_or(DateTime::<Utc>::MIN_UTC)
}
