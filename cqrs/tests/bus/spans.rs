//! Notes what is told to `tracing`.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Each event as a line behind its span; one span is entered at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spans {
    noted: Arc<Mutex<Noted>>,
}

#[derive(Debug, Default)]
struct Noted {
    spans: Vec<String>,
    entered: Vec<usize>,
    told: Vec<String>,
}

impl Spans {
    pub(crate) fn told(&self) -> Vec<String> {
        self.noted.lock().told.clone()
    }
}

/// Writes fields as `name=value`, and a message as it is.
struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0 = format!("{value:?}{}", self.0),
            name => self.0 += &format!(" {name}={value:?}"),
        }
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("cqrs")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(span.metadata().name().to_owned());
        span.record(&mut line);
        let mut noted = self.noted.lock();
        noted.spans.push(line.0);
        Id::from_u64(noted.spans.len() as u64)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let mut noted = self.noted.lock();
        let span = noted.entered.last().map_or(String::new(), |at| noted.spans[*at].clone());
        noted.told.push(format!("{span}: {}", line.0));
    }

    fn enter(&self, span: &Id) {
        let at = usize::try_from(span.into_u64()).unwrap() - 1;
        self.noted.lock().entered.push(at);
    }

    fn exit(&self, _: &Id) {
        self.noted.lock().entered.pop();
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}
}
