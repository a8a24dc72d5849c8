//! Rules 4, 6 and 7: the log has one order, and every client saw it.

use std::collections::{HashMap, HashSet};

use es_core::{EventId, Position, RecordedEvent, StreamId, Version};

use super::{
    Rule, Tick,
    record::{Outcome, Record, Report},
};

pub(super) fn check(record: &Record, log: &[RecordedEvent], report: &mut Report<'_>) {
    dense(log, report);
    real_time(record, report);
    prefixes(record, log, report);
}

fn dense(log: &[RecordedEvent], report: &mut Report<'_>) {
    let mut streams: HashMap<&StreamId, Version> = HashMap::new();
    let mut last = Position::START;
    for event in log {
        let version = streams.entry(&event.stream).or_default();
        if event.version != version.plus(1) {
            let (stream, found) = (&event.stream, event.version);
            report(Rule::Dense, format!("{stream} goes from version {version} to {found}"));
        }
        if event.position <= last {
            let found = event.position;
            report(Rule::Dense, format!("position {found} stands after position {last}"));
        }
        (*version, last) = (event.version, event.position);
    }
}

/// An append that was acknowledged before another began stands before it.
/// Sorted by their beginnings, each must stand after all that had ended then.
fn real_time(record: &Record, report: &mut Report<'_>) {
    let mut begun = Vec::new();
    let mut done: Vec<(Tick, Position)> = Vec::new();
    for operation in &record.operations {
        let Outcome::Acknowledged(appended) = &operation.outcome else { continue };
        if appended.repeated || appended.position == Position::START {
            continue;
        }
        begun.push((operation.began, appended.position));
        done.extend(operation.ended.map(|ended| (ended, appended.position)));
    }
    begun.sort_unstable();
    done.sort_unstable();
    let (mut next, mut highest) = (0, Position::START);
    for (began, position) in begun {
        while let Some((_, before)) = done.get(next).filter(|(ended, _)| *ended < began) {
            (next, highest) = (next + 1, highest.max(*before));
        }
        if position <= highest {
            let what = format!("{position} was begun after {highest} was acknowledged");
            report(Rule::RealTime, what);
        }
    }
}

fn prefixes(record: &Record, log: &[RecordedEvent], report: &mut Report<'_>) {
    let due: Vec<EventId> = log.iter().map(|event| event.id).collect();
    for read in &record.reads {
        if !due.starts_with(&read.events) {
            report(Rule::Prefix, format!("a read of {} is no prefix", read.events.len()));
            continue;
        }
        let seen: HashSet<_> = read.events.iter().collect();
        for operation in &record.operations {
            let acknowledged = matches!(operation.outcome, Outcome::Acknowledged(_));
            let mut events = operation.writes.iter().flat_map(|write| &write.events);
            let before = operation.ended.is_some_and(|ended| ended < read.began);
            if acknowledged && before && events.clone().any(|id| !seen.contains(id)) {
                report(Rule::Prefix, "a read misses what was acknowledged before".into());
            }
            if operation.began > read.ended && events.any(|id| seen.contains(id)) {
                report(Rule::Prefix, "a read shows what was begun after it".into());
            }
        }
    }
}
