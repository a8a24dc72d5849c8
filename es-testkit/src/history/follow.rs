//! Rules 8, 9 and 10: followers, folds and effects.

use std::collections::HashSet;

use es_core::{Position, RecordedEvent};

use super::{
    Rule, digest,
    record::{Record, Report, Step},
};

pub(super) fn check(record: &Record, log: &[RecordedEvent], report: &mut Report<'_>) {
    for (name, steps) in &record.followers {
        offered(name, steps, log, report);
    }
    for (name, through, found) in &record.folds {
        let until = log.iter().take_while(|event| event.position <= *through);
        if digest(until.map(|event| event.id)) != *found {
            report(Rule::Fold, format!("{name} at {through} is not a fold of the log"));
        }
    }
    let mut once = HashSet::new();
    for key in record.effects.iter().filter(|key| !once.insert(*key)) {
        report(Rule::Effect, format!("{key} happened twice"));
    }
}

/// From each beginning the follower must be offered the log without a hole; a
/// new beginning may lie behind, which repeats, and not ahead, which skips.
fn offered(name: &str, steps: &[Step], log: &[RecordedEvent], report: &mut Report<'_>) {
    let mut next = 0;
    let mut begun = false;
    for step in steps {
        match step {
            Step::Restarted(after) => {
                let at = log.partition_point(|event| event.position <= *after);
                if begun && at > next {
                    let missed = at - next;
                    report(Rule::Offered, format!("{name} restarts past {missed} events"));
                }
                (next, begun) = (at, true);
            }
            Step::Offered(id) if log.get(next).is_some_and(|event| event.id == *id) => next += 1,
            Step::Offered(id) => {
                let due = log.get(next).map_or(Position::START, |event| event.position);
                report(Rule::Offered, format!("{name} is offered {id} where {due} is due"));
                let at = log.iter().position(|event| event.id == *id);
                next = at.map_or(next, |at| at + 1);
            }
        }
    }
}
