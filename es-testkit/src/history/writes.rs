//! Rules 1, 2, 3 and 5: what became of each append.

use std::collections::HashMap;

use es_core::{EventId, Expected, RecordedEvent};

use super::{
    Rule,
    record::{Attempt, Operation, Outcome, Record, Report},
};

pub(super) fn check(record: &Record, log: &[RecordedEvent], report: &mut Report<'_>) {
    let found = Found::new(log);
    for operation in &record.operations {
        match &operation.outcome {
            Outcome::Acknowledged(_) => acknowledged(operation, &found, report),
            Outcome::Refused => refused(operation, &found, report),
            Outcome::Unknown => unknown(operation, &found, record, report),
        }
    }
}

/// The events of the log by their ids; a good log has one for each.
struct Found<'a>(HashMap<EventId, Vec<&'a RecordedEvent>>);

impl<'a> Found<'a> {
    fn new(log: &'a [RecordedEvent]) -> Self {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        for event in log {
            found.entry(event.id).or_default().push(event);
        }
        Self(found)
    }

    fn copies(&self, id: EventId) -> &[&'a RecordedEvent] {
        self.0.get(&id).map(Vec::as_slice).unwrap_or_default()
    }
}

fn events(operation: &Operation) -> impl Iterator<Item = EventId> {
    operation.writes.iter().flat_map(|write| write.events.iter().copied())
}

fn acknowledged(operation: &Operation, found: &Found<'_>, report: &mut Report<'_>) {
    let Outcome::Acknowledged(appended) = &operation.outcome else { return };
    for id in events(operation) {
        let copies = found.copies(id).len();
        if copies != 1 {
            report(Rule::Acknowledged, format!("event {id} is there {copies} times"));
        }
    }
    for (write, written) in operation.writes.iter().zip(&appended.writes) {
        let Some([last]) = write.events.last().map(|id| found.copies(*id)) else { continue };
        if (last.version, last.position) != (written.version, written.position) {
            let (version, position) = (last.version, last.position);
            let what = format!("{} is at {version}, {position}, not at {written:?}", last.id);
            report(Rule::Acknowledged, what);
        }
        expected(write, found, report);
    }
}

fn expected(write: &Attempt, found: &Found<'_>, report: &mut Report<'_>) {
    let Some([first]) = write.events.first().map(|id| found.copies(*id)) else { return };
    let before = first.version.get().saturating_sub(1);
    let held = match write.expected {
        Expected::Any => true,
        Expected::NoStream => before == 0,
        Expected::Exists => before > 0,
        Expected::Exact(version) => before == version.get(),
    };
    if !held {
        let (stream, wanted) = (&write.stream, write.expected);
        report(Rule::Expected, format!("{stream} was at {before}, expected was {wanted:?}"));
    }
}

fn refused(operation: &Operation, found: &Found<'_>, report: &mut Report<'_>) {
    for id in events(operation).filter(|id| !found.copies(*id).is_empty()) {
        report(Rule::Refused, format!("event {id} is there, and was refused"));
    }
}

fn unknown(operation: &Operation, found: &Found<'_>, record: &Record, report: &mut Report<'_>) {
    let copies: Vec<_> = events(operation).map(|id| found.copies(id).len()).collect();
    if copies.iter().any(|count| *count > 1 || *count != copies[0]) {
        report(Rule::Unknown, format!("an append of unknown outcome left {copies:?} copies"));
    }
    let Some(ended) = operation.ended else { return };
    let later = record.reads.iter().filter(|read| read.began > ended);
    let Some(first) = events(operation).next().filter(|id| !found.copies(*id).is_empty()) else {
        return;
    };
    if later.into_iter().any(|read| !read.events.contains(&first)) {
        report(Rule::Unknown, format!("event {first} came after it was read as absent"));
    }
}
