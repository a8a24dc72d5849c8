use async_trait::async_trait;
use es_core::{
    Checkpoint, Name, Part, Position, RecordedEvent, Row, Slices, StoreError, StoreErrorKind,
    Views, World, failpoint,
};

use tokio::sync::watch;

use super::{
    batch::PageBatch, parked::Parked, parking::Parking, reaction::StartAt, settings::ModelSettings,
};
use crate::{Change, ProjectionError, queries::Changes};

/// What a projector knows of a model before it keeps any part of it.
pub(crate) struct About {
    pub(crate) name: Name,
    pub(crate) types: Vec<Name>,
    pub(crate) revision: u64,
    pub(crate) settings: ModelSettings,
    pub(crate) rebuilds: Rebuilds,
    pub(crate) start: StartAt,
}

/// How a model is built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rebuilds {
    /// Beside the one that answers, which it replaces at the end.
    Beside,
    /// In its place, from nothing.
    InPlace,
    /// Never: what it does cannot be done again.
    Never,
}

/// Makes the handlers of one model, its type forgotten.
#[async_trait]
pub(crate) trait Recipe<V: Views>: Send + Sync {
    fn about(&self) -> &About;

    /// What keeps this part from this checkpoint on.
    async fn handler(
        &self,
        views: &V,
        held: Held,
        world: World,
    ) -> Result<Box<dyn Handler<V>>, ProjectionError>;

    /// Deletes what the model has written by itself, and sets it to the start.
    async fn empty(&self, views: &V, held: &mut Held) -> Result<(), ProjectionError> {
        let (tx, _) = held.begin(views).await?;
        let next = held.checkpoint.at(es_core::Position::START);
        held.commit(views, tx, es_core::Changes::default(), next, Touched::Anything).await
    }
}

/// Keeps one part of a model.
#[async_trait]
pub(crate) trait Handler<V: Views>: Send + Sync {
    fn held(&self) -> &Held;

    fn held_mut(&mut self) -> &mut Held;

    /// Brings the part to the end of the batch, in one transaction or in several
    /// one after the other; it may end earlier if it is told to stop. After an error it has
    /// to [recover](Self::recover).
    async fn handle(
        &mut self,
        views: &V,
        batch: &PageBatch,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), ProjectionError>;

    /// Forgets what was not committed, and finds out what was.
    async fn recover(&mut self, views: &V) -> Result<(), ProjectionError>;

    /// Takes parked events of one sequence, oldest first, as far as it can. What it
    /// took is parked no more.
    async fn retry(
        &mut self,
        views: &V,
        parked: Vec<(Parked, RecordedEvent)>,
    ) -> Result<(), ProjectionError>;
}

/// A part that this process has, and how far it has brought it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) part: Part,
    pub(crate) checkpoint: Checkpoint,
    /// Where to say what was committed; nowhere if its build does not answer.
    pub(crate) changes: Option<Changes>,
}

/// What a commit changes for whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    /// The rows that it writes.
    Rows,
    /// Who knows what.
    Anything,
}

impl Held {
    /// Whether it is of one of the streams of this part, and not handled yet.
    pub(crate) fn is_due(&self, envelope: &RecordedEvent) -> bool {
        let slices = self.part.slices;
        let slice = || Slices::slice_of(envelope.stream.tenant(), &envelope.stream.to_string());
        envelope.position > self.checkpoint.position
            && (slices == Slices::ALL || slices.contains(slice()))
    }

    /// A transaction, if the checkpoint still is where this owner left it.
    pub(crate) async fn begin<V: Views>(
        &self,
        views: &V,
    ) -> Result<(V::Tx, Checkpoint), StoreError> {
        let (tx, seen) = views.begin(&self.part).await?;
        if seen == self.checkpoint { Ok((tx, seen)) } else { Err(self.fenced(seen)) }
    }

    pub(crate) async fn commit<V: Views>(
        &mut self,
        views: &V,
        tx: V::Tx,
        changes: es_core::Changes,
        next: Checkpoint,
        touched: Touched,
    ) -> Result<(), ProjectionError> {
        failpoint!("projection.before_commit");
        let (model, position) = (&self.part.model, next.position);
        let stands = position <= self.checkpoint.position;
        let change = self.changes.as_ref().and_then(|told| match touched {
            Touched::Rows if changes.rows.is_empty() => None,
            // What shows all events up to there does not show what these rows show now.
            _ if stands => Some(Change::Everything),
            Touched::Rows => told.of_rows(model, &changes.rows, position),
            Touched::Anything => Some(Change::Model { model: model.clone(), position }),
        });
        views.commit(&self.part, tx, changes, self.checkpoint, next).await?;
        self.checkpoint = next;
        failpoint!("projection.after_commit");
        if let (Some(told), Some(change)) = (&self.changes, change) {
            told.tell(change);
        }
        Ok(())
    }

    /// Moves the checkpoint, with what was parked on the way.
    pub(crate) async fn pass<V: Views>(
        &mut self,
        views: &V,
        parking: &mut Parking,
        through: Position,
    ) -> Result<(), ProjectionError> {
        if through <= self.checkpoint.position {
            return Ok(());
        }
        failpoint!("projection.before_checkpoint");
        let (tx, seen) = self.begin(views).await?;
        let changes = es_core::Changes::default().parked(parking.rows()?);
        self.commit(views, tx, changes, seen.at(through), Touched::Rows).await
    }

    /// Changes what is parked, and stays where it is.
    pub(crate) async fn park<V: Views>(
        &mut self,
        views: &V,
        parked: Vec<Row>,
    ) -> Result<(), ProjectionError> {
        let (tx, seen) = self.begin(views).await?;
        let changes = es_core::Changes::default().parked(parked);
        self.commit(views, tx, changes, seen, Touched::Rows).await
    }

    pub(crate) fn is_beyond(&self, end: Position) -> bool {
        self.checkpoint.position > end
    }

    /// Where it is, if it still is ours: an answer may have been lost. A store that has
    /// lost a commit, as in a failover, is behind the batch at hand: what it has lost would
    /// be left out, so that the part has to be taken anew.
    pub(crate) async fn recover<V: Views>(&mut self, views: &V) -> Result<(), StoreError> {
        let (_, seen) = views.begin(&self.part).await?;
        if seen.epoch != self.checkpoint.epoch || seen.position < self.checkpoint.position {
            return Err(self.fenced(seen));
        }
        self.checkpoint = seen;
        Ok(())
    }

    fn fenced(&self, seen: Checkpoint) -> StoreError {
        let Checkpoint { epoch, position } = seen;
        let message = format!(
            "{} is at epoch {epoch}, position {position}: another owner has taken it over, or \
             its store has lost a commit",
            self.part
        );
        StoreError::new(StoreErrorKind::Fenced, message)
    }
}
