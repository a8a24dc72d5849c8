//! The promises of read models.

pub mod committing;
pub mod rows;

use std::{fmt, ops::Deref};

use es_core::Views;

use super::{Promise, UnderTest, macros::list};

/// A place for read models under test, and how a free-form step is made to
/// fail there.
///
/// ```
/// use es_core::memory::MemoryViews;
/// use es_testkit::contract::ReadModels;
///
/// let models = ReadModels::new(MemoryViews::new());
/// assert!(models.breaking.is_none());
/// ```
pub struct ReadModels<V: Views> {
    /// The port.
    pub views: V,
    /// Adds a step to the transaction that fails at the commit; `None` if the
    /// transaction has no such step.
    pub breaking: Option<fn(&mut V::Tx)>,
}

impl<V: Views> ReadModels<V> {
    /// Read models whose free-form steps cannot fail.
    pub fn new(views: V) -> Self {
        Self { views, breaking: None }
    }

    /// Sets how a free-form step is made to fail.
    #[must_use]
    pub fn breaking(mut self, breaking: fn(&mut V::Tx)) -> Self {
        self.breaking = Some(breaking);
        self
    }
}

impl<V: Views> UnderTest for ReadModels<V> {}

impl<V: Views> Deref for ReadModels<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.views
    }
}

impl<V: Views> fmt::Debug for ReadModels<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadModels").finish_non_exhaustive()
    }
}

/// The one list.
#[doc(hidden)]
#[macro_export]
macro_rules! __view_promises {
    ([$($callback:tt)+] [$($args:tt)*]) => {
        $($callback)+! {
            [$($args)*]
            committing {
                an_unknown_model_is_at_the_start,
                rows_and_checkpoint_are_committed_together,
                a_commit_without_rows_moves_the_checkpoint,
                a_fenced_commit_writes_nothing,
                of_two_transactions_at_once_one_commits,
                a_dropped_transaction_writes_nothing,
                a_step_that_fails_takes_everything_back,
                a_reset_begins_anew,
                a_reset_fences_off_whoever_was_at_work,
                an_unknown_model_can_be_reset,
                a_reset_touches_no_other_model,
                the_checkpoints_of_two_models_are_apart,
                no_update_is_lost_among_workers_at_once,
            }
            rows {
                an_unknown_model_has_no_rows,
                a_committed_row_is_found,
                a_row_replaces_the_one_with_its_key,
                a_row_without_a_value_is_deleted,
                the_last_row_of_a_key_counts,
                these_rows_are_found_in_the_order_of_their_ids,
                keys_are_in_the_order_of_their_bytes,
                rows_come_by_the_page,
                a_page_may_begin_after_a_key_that_is_not_there,
                tenants_are_apart,
                these_rows_of_several_tenants_are_in_order,
                models_are_apart,
                any_value_round_trips,
                a_commit_may_hold_thousands_of_rows,
            }
        }
    };
}

/// Every promise of read models.
///
/// ```
/// use es_core::memory::MemoryViews;
///
/// let promises = es_testkit::contract::view_promises::<MemoryViews>();
/// assert!(promises.iter().any(|one| one.name == "a_fenced_commit_writes_nothing"));
/// ```
pub fn view_promises<V: Views>() -> Vec<Promise<ReadModels<V>>> {
    let promises: &[Promise<_>] = crate::__view_promises!([list] [ReadModels<V>]);
    promises.to_vec()
}
