//! The records of events that a model could not take, and how they are found.
//!
//! Each has a key, by which a sequence of one part stands together, oldest first:
//! `SEQUENCE END FIRST_SLICE END POSITION`. What does not wait any more begins with another
//! `END`, and so stands before all that does.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use es_core::{
    Codec, Lookup, Name, Part, Position, RecordedEvent, Row, RowId, Rows, Slices, Tenant, Version,
    Views,
};
use serde::{Deserialize, Serialize};

use super::parking::{Reason, Sequence};
use crate::ProjectionError;

/// Records that are asked for at once if all are wanted.
const PAGE: usize = 1_000;
/// Records that are asked for at once if only the names of their sequences are: so many
/// are read of one sequence, however many there are.
const LOOKED: usize = 100;
/// Ends what a key is made of.
const END: char = '\u{1f}';
/// Stands for an [`END`], or for itself, in the name of a sequence.
const ESCAPE: char = '\u{1e}';

/// An event that a model could not take, or that comes after one in its sequence.
///
/// ```
/// use cqrs::Parked;
///
/// fn tell(parked: &Parked) -> String {
///     format!("{} waits at position {}: {}", parked.sequence, parked.position, parked.error)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parked {
    /// What stands still with it: `stream account-ada`, or `row ada`; of a message without a
    /// key nothing else: `event` and its id.
    pub sequence: String,
    /// Whose it is.
    pub tenant: String,
    /// The stream of the event.
    pub stream: String,
    /// Which event of the stream it is.
    pub version: u64,
    /// Where it stands in the log.
    pub position: Position,
    /// Its type.
    pub event_type: String,
    /// What kind of failure it was.
    pub class: FailureClass,
    /// What went wrong, in words.
    pub error: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it was parked.
    pub at: DateTime<Utc>,
    /// What is to become of it.
    pub state: ParkedState,
    /// What operators have said about it, oldest first.
    pub notes: Vec<ParkedNote>,
    /// What is taken instead of the payload in the log.
    pub payload: Option<String>,
    pub(crate) slices: (u16, u16),
}

/// What kind of failure parked an event.
///
/// ```
/// assert_ne!(cqrs::FailureClass::Decode, cqrs::FailureClass::Panic);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureClass {
    /// The projection's own code refused it.
    Handler,
    /// The projection's own code panicked.
    Panic,
    /// It cannot be read as the type that the model names.
    Decode,
    /// Nothing is wrong with it, but an earlier event of its sequence is parked.
    OutOfOrder,
    /// What it wanted to write was refused by the database.
    Store,
    /// It was refused by the broker that was to be told of it.
    Broker,
}

/// What is to become of a parked event.
///
/// ```
/// assert_ne!(cqrs::ParkedState::Waiting, cqrs::ParkedState::Skipped);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParkedState {
    /// It waits, and its sequence with it.
    Waiting,
    /// It was skipped, as the model's settings say.
    Skipped,
    /// Somebody has decided to do without it.
    Discarded,
}

/// What somebody has done with a parked event.
///
/// ```
/// use cqrs::ParkedNote;
///
/// fn tell(note: &ParkedNote) -> String { format!("{}: {}", note.actor, note.text) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParkedNote {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What, and why.
    pub text: String,
}

impl Parked {
    /// Its row beside the model.
    pub(crate) fn row(&self) -> Result<Row, ProjectionError> {
        let value = Codec::Json.encode_value(self).map_err(ProjectionError::handler)?;
        Ok(Row { id: self.id()?, value: Some(value) })
    }

    /// Takes it away again.
    pub(crate) fn gone(&self) -> Result<Row, ProjectionError> {
        Ok(Row { id: self.id()?, value: None })
    }

    fn id(&self) -> Result<RowId, ProjectionError> {
        let Sequence { tenant, name } = self.sequence()?;
        let key = format!("{}{:020}", before(&name, self.slices.0), self.position.get());
        let key = if self.waits() { key } else { format!("{END}{key}") };
        Ok(RowId::new(tenant, key))
    }

    pub(crate) fn sequence(&self) -> Result<Sequence, ProjectionError> {
        let tenant = Tenant::new(&self.tenant).map_err(ProjectionError::handler)?;
        Ok(Sequence { tenant, name: self.sequence.clone() })
    }

    /// Whether it was parked by a part with some of these slices.
    fn concerns(&self, slices: Slices) -> bool {
        self.slices.0 <= slices.last && self.slices.1 >= slices.first
    }

    pub(crate) fn waits(&self) -> bool {
        self.state == ParkedState::Waiting
    }

    /// Its row when it was tried once more, in vain.
    pub(crate) fn refused(&self, reason: &Reason) -> Result<Row, ProjectionError> {
        let (class, error) = (reason.class, reason.error.clone());
        Self { tries: self.tries + 1, class, error, ..self.clone() }.row()
    }

    pub(crate) fn note(&mut self, at: DateTime<Utc>, actor: &str, text: impl Into<String>) {
        self.notes.push(ParkedNote { at, actor: actor.to_owned(), text: text.into() });
    }

    /// The event, with the payload that it is to be taken with.
    pub(crate) fn edited(&self, mut event: RecordedEvent) -> RecordedEvent {
        if let Some(payload) = &self.payload {
            event.payload = payload.clone().into_bytes().into();
        }
        event
    }

    /// Which event of its stream it is.
    pub fn version(&self) -> Version {
        Version::new(self.version)
    }
}

/// What the keys of a sequence begin with.
fn of_sequence(name: &str) -> String {
    let name = name.replace(ESCAPE, "\u{1e}0").replace(END, "\u{1e}1");
    format!("{name}{END}")
}

/// What the keys of a sequence begin with that a part has parked.
fn before(name: &str, first: u16) -> String {
    format!("{}{first:04}{END}", of_sequence(name))
}

/// All that is parked in a build; the events of one sequence in their order.
pub(crate) async fn all<V: Views>(views: &V, model: &Name) -> Result<Vec<Parked>, ProjectionError> {
    let mut all = Vec::new();
    each(views, model, None, |_, parked| all.push(parked)).await?;
    all.sort_by(|one, other| {
        let order = |one: &Parked| (one.position, one.slices.0);
        let (one_of, other_of) = ((&one.tenant, &one.sequence), (&other.tenant, &other.sequence));
        one_of.cmp(&other_of).then_with(|| order(one).cmp(&order(other)))
    });
    Ok(all)
}

/// Looks at each record of a build, a page in memory.
pub(crate) async fn each<V: Views>(
    views: &V,
    model: &Name,
    build: Option<u64>,
    mut look: impl FnMut(RowId, Parked) + Send,
) -> Result<(), ProjectionError> {
    let mut after = None;
    loop {
        let every = Rows::Every { after: after.take(), limit: PAGE };
        let page = page(views, model, build, every).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(id, _)| id.clone());
        page.into_iter().for_each(|(id, parked)| look(id, parked));
        if is_last {
            return Ok(());
        }
    }
}

/// The sequences of a part that stand still. Once one is known the rest of it is passed
/// over, and so is what does not wait.
pub(crate) async fn blocked<V: Views>(
    views: &V,
    part: &Part,
) -> Result<HashSet<Sequence>, ProjectionError> {
    let (mut blocked, mut after) = (HashSet::new(), None);
    loop {
        let every = Rows::Every { after: after.take(), limit: LOOKED };
        let page = page(views, &part.model, Some(part.build), every).await?;
        let is_last = page.len() < LOOKED;
        for (id, parked) in page {
            let sequence = parked.sequence()?;
            let first = part.slices.first;
            let beyond = match parked.slices.0 {
                _ if !parked.waits() => " ".to_owned(),
                before if before < first => format!("{}{first:04}", of_sequence(&sequence.name)),
                _ => format!("{}:", of_sequence(&sequence.name)),
            };
            after = Some(RowId::new(id.tenant, beyond));
            if parked.waits() && parked.concerns(part.slices) {
                blocked.insert(sequence);
            }
        }
        if is_last {
            return Ok(blocked);
        }
    }
}

/// The first of a sequence that a part has parked and that wait, at most so many.
pub(crate) async fn waiting<V: Views>(
    views: &V,
    part: &Part,
    sequence: &Sequence,
    limit: usize,
) -> Result<Vec<Parked>, ProjectionError> {
    let before = before(&sequence.name, part.slices.first);
    let of = Rows::Of { tenant: sequence.tenant.clone(), after: Some(before.clone()), limit };
    let page = page(views, &part.model, Some(part.build), of).await?;
    let mine = page.into_iter().take_while(|(id, _)| id.key.starts_with(&before));
    Ok(mine.map(|(_, parked)| parked).collect())
}

async fn page<V: Views>(
    views: &V,
    model: &Name,
    build: Option<u64>,
    rows: Rows,
) -> Result<Vec<(RowId, Parked)>, ProjectionError> {
    let mut lookup = Lookup::new(model.clone(), rows).parked();
    lookup.build = build;
    let decode = |row: Row| match Codec::Json.decode_value(&row.value.unwrap_or_default()) {
        Ok(parked) => Ok((row.id, parked)),
        Err(source) => {
            let (view, key) = (model.to_string(), row.id.key);
            Err(ProjectionError::Row { view, key, source: Box::new(source) })
        }
    };
    views.rows(lookup).await?.into_iter().map(decode).collect()
}
