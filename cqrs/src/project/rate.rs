use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{Name, Position};

/// The shortest time over which a rate says something.
const SHORTEST: TimeDelta = TimeDelta::milliseconds(100);

/// Where each model was when somebody last asked, whichever process keeps it.
#[derive(Debug, Default)]
pub(crate) struct Rates(HashMap<Name, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: DateTime<Utc>,
    position: Position,
    rate: Option<u64>,
}

impl Rates {
    /// Positions a second since it was asked before; who asks again at once is told the
    /// same.
    pub(crate) fn of(
        &mut self,
        model: &Name,
        position: Position,
        now: DateTime<Utc>,
    ) -> Option<u64> {
        let Some(seen) = self.0.get_mut(model) else {
            self.0.insert(model.clone(), Seen { at: now, position, rate: None });
            return None;
        };
        let took = now - seen.at;
        if took >= SHORTEST {
            let passed = position.get().saturating_sub(seen.position.get());
            let millis = u64::try_from(took.num_milliseconds()).unwrap_or(u64::MAX);
            let rate = Some(passed.saturating_mul(1_000) / millis.max(1));
            *seen = Seen { at: now, position, rate };
        }
        seen.rate
    }
}
