//! The promises of read models that change with each append.

pub mod beginning;
pub mod ending;
pub mod folding;
mod scene;
pub mod sharing;
mod tallies;

use std::{fmt, sync::Arc};

use es_core::{EventStore, Views};
use futures_util::future::BoxFuture;

use super::{Need, Promise, UnderTest, macros::list};

pub use tallies::Tallies;

/// A log and its views under test, opened with [`Tallies`].
///
/// ```
/// use es_core::memory::{MemoryStore, MemoryViews};
/// use es_testkit::contract::{InlineModels, Tallies};
///
/// let (views, tallies) = (MemoryViews::new(), Tallies::default());
/// let log = MemoryStore::new().inline(&views, tallies.clone());
/// let models = InlineModels::new(log, views, tallies);
/// assert!(models.another.is_none());
/// ```
pub struct InlineModels<V: Views> {
    /// The log.
    pub log: Arc<dyn EventStore>,
    /// The rows.
    pub views: V,
    /// What both were opened with.
    pub tallies: Tallies,
    /// Opens the same log once more, as another program would: with these models, or with
    /// none. `None` if there is but one program.
    pub another: Option<Another>,
}

/// Opens a log once more.
pub type Another =
    Box<dyn Fn(Option<Tallies>) -> BoxFuture<'static, Arc<dyn EventStore>> + Send + Sync>;

impl<V: Views> InlineModels<V> {
    /// A log that only one program has.
    pub fn new(log: impl EventStore, views: V, tallies: Tallies) -> Self {
        Self { log: Arc::new(log), views, tallies, another: None }
    }

    /// Sets how another program opens the log.
    #[must_use]
    pub fn another(
        mut self,
        open: impl Fn(Option<Tallies>) -> BoxFuture<'static, Arc<dyn EventStore>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.another = Some(Box::new(open));
        self
    }
}

impl<V: Views> UnderTest for InlineModels<V> {
    fn can(&self, need: Need) -> bool {
        match need {
            Need::OtherPrograms => self.another.is_some(),
            need => need.is_met_by(self.log.abilities()),
        }
    }
}

impl<V: Views> fmt::Debug for InlineModels<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineModels").finish_non_exhaustive()
    }
}

/// The one list.
#[doc(hidden)]
#[macro_export]
macro_rules! __inline_promises {
    ([$($callback:tt)+] [$($args:tt)*]) => {
        $($callback)+! {
            [$($args)*]
            folding {
                an_append_changes_its_rows_at_once,
                a_row_sees_the_events_of_16_appenders_in_the_order_of_the_log,
                a_refused_append_changes_no_row,
                an_event_that_cannot_be_folded_is_not_appended,
                an_event_that_cannot_be_folded_touches_no_other_append,
                a_repeated_append_changes_its_rows_once,
                events_of_other_types_change_no_row,
                a_batch_of_many_streams_changes_each_row: ManyStreams,
                a_row_without_a_value_is_deleted,
                the_rows_of_tenants_are_apart,
                the_checkpoint_comes_with_the_rows,
                what_was_committed_is_told_before_the_answer,
                models_that_are_not_kept_so_change_no_row,
            }
            beginning {
                what_came_before_is_folded_first,
                each_part_is_folded_from_where_it_stands,
                whoever_kept_the_parts_is_fenced,
                nobody_gets_a_part_that_is_kept_so,
                beginning_again_changes_nothing,
                a_model_that_the_store_does_not_know_does_not_begin,
                a_model_without_a_build_does_not_begin,
                a_build_of_another_revision_does_not_begin,
                a_model_with_parked_events_does_not_begin,
                a_model_that_is_far_behind_does_not_begin,
                an_event_that_cannot_be_folded_keeps_a_model_from_beginning,
                nothing_is_lost_or_doubled_while_a_model_begins,
            }
            ending {
                appends_leave_the_rows_of_a_taken_part_alone,
                a_build_that_takes_the_place_is_not_kept_so,
                nothing_is_lost_or_doubled_while_a_model_begins_and_ends,
            }
            sharing {
                a_program_that_does_not_know_the_model_appends_nothing_for_it: OtherPrograms,
                a_program_that_does_not_know_the_model_appends_everything_else: OtherPrograms,
                a_program_with_another_revision_appends_nothing_for_it: OtherPrograms,
                a_program_may_append_again_once_the_model_has_ended: OtherPrograms,
                a_row_sees_the_events_of_two_programs_in_the_order_of_the_log: OtherPrograms,
                no_append_slips_through_while_a_model_begins: OtherPrograms,
            }
        }
    };
}

/// Every promise of read models that change with each append.
///
/// ```
/// use es_core::memory::MemoryViews;
///
/// let promises = es_testkit::contract::inline_promises::<MemoryViews>();
/// assert!(promises.iter().any(|one| one.name == "an_append_changes_its_rows_at_once"));
/// ```
pub fn inline_promises<V: Views>() -> Vec<Promise<InlineModels<V>>> {
    let promises: &[Promise<_>] = crate::__inline_promises!([list] [InlineModels<V>]);
    promises.to_vec()
}
