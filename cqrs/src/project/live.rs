use es_core::{EventStore, Position, Read, Recorded};
use futures_util::TryStreamExt;

use super::{
    batch::decode,
    viewing::{Remembered, keys},
};
use crate::{ProjectionError, View};

/// Rows that are folded when somebody asks, and kept nowhere.
///
/// For what is asked seldom and has few events: it needs no projector, and is never
/// behind. The same view may be kept by workers, or by appends, as well.
///
/// ```
/// use cqrs::{Event, Evolve, Keys, LiveView, View};
/// use es_core::{AggregateStoreExt, Position, Read, Recorded, memory::MemoryStore, stream_of};
/// # use es_core::{Aggregate, Version};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "seat")]
/// enum SeatEvent { Taken { course: String } }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Course { students: u32 }
///
/// impl Evolve for Course {
///     type Event = SeatEvent;
///     fn evolve(&mut self, _: &SeatEvent) { self.students += 1; }
/// }
///
/// impl View for Course {
///     const NAME: &'static str = "courses";
///     type Key = String;
///     fn keys(seat: Recorded<'_, SeatEvent>) -> Keys<String> {
///         let SeatEvent::Taken { course } = seat.event;
///         Keys::One(course.clone())
///     }
/// }
/// # #[derive(Default, Aggregate)]
/// # struct Seat;
/// # impl Evolve for Seat { type Event = SeatEvent; fn evolve(&mut self, _: &SeatEvent) {} }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// # store.commit::<Seat>(&"1".into(), Version::NONE, &[SeatEvent::Taken { course: "rust".into() }]).await?;
/// let (course, as_of) = Course::live(&store, &"rust".into(), Read::all()).await?;
/// assert_eq!(course.map(|course| course.students), Some(1));
/// assert_eq!(as_of, Position::new(1));
/// # Ok(())
/// # }
/// ```
pub trait LiveView: View {
    /// The row with this key, folded from the events that `read` finds and the view names,
    /// and up to where it has read. Ask for the tenant, stream or tag that has all events of
    /// the row, in their order; the whole log has them too.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Event`] and [`ProjectionError::Handler`] if an event cannot be
    /// folded; [`ProjectionError::Store`] if the store fails.
    fn live<S>(
        store: &S,
        key: &Self::Key,
        read: Read,
    ) -> impl Future<Output = Result<(Option<Self>, Position), ProjectionError>> + Send
    where
        S: EventStore + ?Sized,
    {
        async move {
            let mut row = Remembered::<Self> { row: None, changed: false };
            let mut as_of = read.after;
            let mut pages = store.read(read.types_of::<Self::Event>());
            while let Some(page) = pages.try_next().await? {
                for envelope in &page.events {
                    let Some(event) = decode::<Self::Event>(envelope)? else { continue };
                    let event = Recorded { event: &event, envelope };
                    if keys::<Self>(event).map_err(|one| *one.error)?.contains(key) {
                        row.apply(key, event).map_err(ProjectionError::handler)?;
                    }
                }
                as_of = page.through;
            }
            Ok((row.row, as_of))
        }
    }
}

impl<W: View> LiveView for W {}
