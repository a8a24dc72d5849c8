//! A reaction whose effect is a line in a file.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::Arc,
};

use cqrs::{Live, ProjectionError, Reaction};
use es_core::Recorded;
use parking_lot::Mutex;

use super::parcels::{Moved, is_broken_for};

/// Adds a line for each effect, whole or not at all: it is there if the process is
/// killed right after it.
#[derive(Debug, Clone)]
pub struct Mailer {
    file: Arc<File>,
    /// What was not sent yet, if this mailer has the bug that it says so too early.
    late: Option<Arc<Mutex<Option<String>>>>,
}

impl Mailer {
    /// Adds to this file.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Arc::new(file), late: None })
    }

    /// With a bug: it says that a mail was sent before it was.
    #[must_use]
    pub fn late(self) -> Self {
        Self { late: Some(Arc::default()), ..self }
    }

    fn send(&self, line: String) -> std::io::Result<()> {
        let line = match &self.late {
            Some(late) => late.lock().replace(line),
            None => Some(line),
        };
        line.map_or(Ok(()), |line| (&*self.file).write_all(line.as_bytes()))
    }
}

/// One mail for each event.
#[derive(Debug, Clone, Copy)]
pub struct Mails;

impl Reaction for Mails {
    const NAME: &'static str = "mails";
    type Event = Moved;
    type Tools = Mailer;

    async fn react(
        &self,
        moved: Recorded<'_, Moved>,
        live: &mut Live<'_, Mailer>,
    ) -> Result<(), ProjectionError> {
        if is_broken_for(moved.event, 109, 7) {
            return Err(ProjectionError::handler("it is broken, as the test wants"));
        }
        let id = live.effect_id();
        let line = format!("{} {id}\n", moved.event.number);
        live.tools().send(line).map_err(ProjectionError::handler)
    }
}

/// An effect that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Because of which event.
    pub number: u64,
    /// Its key.
    pub id: String,
}

/// The effects that are noted in this file, in their order.
pub fn effects(path: &Path) -> std::io::Result<Vec<Effect>> {
    let text = std::fs::read_to_string(path)?;
    let effect = |line: &str| {
        let (number, id) = line.split_once(' ').expect("a number and an id");
        Effect { number: number.parse().expect("a number"), id: id.to_owned() }
    };
    Ok(text.lines().map(effect).collect())
}
