//! The promises of read models: of their rows, their builds, and the parts of those.

pub mod builds;
pub mod committing;
pub mod discarding;
pub mod dividing;
pub mod holding;
pub mod leasing;
pub mod rows;
mod scene;
pub mod serving;

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
                a_part_that_is_not_there_is_at_the_start,
                a_commit_to_a_part_that_is_not_there_is_fenced,
                rows_and_checkpoint_are_committed_together,
                parked_rows_and_checkpoint_are_committed_together,
                a_commit_without_rows_moves_the_checkpoint,
                large_numbers_are_kept,
                a_fenced_commit_writes_nothing,
                of_two_transactions_at_once_one_commits,
                a_dropped_transaction_writes_nothing,
                a_step_that_fails_takes_everything_back,
                the_checkpoints_of_models_and_builds_are_apart,
                the_checkpoints_of_parts_are_apart,
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
                a_page_is_full_where_rows_were_deleted,
                a_page_may_begin_after_a_key_that_is_not_there,
                tenants_are_apart,
                these_rows_of_several_tenants_are_in_order,
                rows_of_every_tenant_come_by_the_page,
                a_page_of_every_tenant_may_begin_after_any_row,
                parked_rows_are_found_only_when_asked_for,
                a_row_and_a_parked_row_of_one_key_are_apart,
                keys_of_any_name_are_apart,
                models_of_any_name_are_apart,
                any_value_round_trips,
                a_commit_may_hold_thousands_of_rows,
            }
            builds {
                a_model_that_nobody_began_has_no_builds,
                a_build_is_what_it_was_begun_as,
                a_build_begins_where_it_was_told,
                a_revision_keeps_all_its_bits,
                the_first_build_answers_at_once,
                a_second_build_does_not_answer,
                a_number_that_exists_cannot_be_begun,
                a_number_before_the_latest_cannot_be_begun,
                of_16_who_begin_a_build_at_once_exactly_one_does,
                parts_that_leave_or_share_a_slice_are_invalid,
                a_build_may_have_a_part_for_each_slice,
                builds_come_in_the_order_of_their_numbers,
                only_the_builds_of_these_models_are_told,
                rows_of_two_builds_are_apart,
                parked_rows_of_two_builds_are_apart,
            }
            serving {
                a_lookup_without_a_build_finds_the_one_that_answers,
                a_build_that_has_come_further_may_answer,
                a_build_that_is_behind_does_not_answer,
                what_is_beyond_the_log_need_not_be_reached,
                a_build_that_is_not_as_seen_does_not_answer,
                a_build_that_answers_may_be_served_again,
                a_build_that_was_replaced_has_no_parts,
                whoever_kept_a_replaced_build_is_fenced,
                a_swap_touches_no_other_model,
                a_swap_and_a_commit_to_the_old_build_do_not_both_succeed,
                of_builds_that_are_served_at_once_one_answers,
                a_lookup_during_a_swap_finds_one_build,
            }
            discarding {
                a_discarded_build_is_gone_with_all_its_rows,
                a_discarded_build_takes_nothing_else_along,
                the_build_that_answers_is_not_discarded,
                discarding_what_is_not_there_changes_nothing,
                whoever_kept_a_discarded_build_is_fenced,
                whoever_kept_a_build_is_fenced_when_its_number_begins_again,
                a_removed_model_is_gone_with_all_its_builds_and_rows,
                a_removed_model_takes_no_other_along,
                removing_what_is_not_there_changes_nothing,
                whoever_kept_a_removed_model_is_fenced_when_it_begins_again,
            }
            dividing {
                a_part_is_divided_where_it_stands,
                parts_are_joined_where_they_stand,
                parts_beside_those_that_change_stay_as_they_are,
                whoever_kept_a_part_that_changed_is_fenced,
                whoever_kept_a_part_is_fenced_when_it_comes_back,
                rows_stay_when_parts_change,
                parts_that_are_not_as_seen_do_not_change,
                parts_at_two_positions_are_not_joined,
                new_parts_that_leave_or_share_a_slice_are_invalid,
                of_16_who_divide_a_part_at_once_exactly_one_does,
            }
            leasing {
                a_free_part_is_taken_under_a_new_epoch,
                a_part_of_another_is_not_taken,
                an_owner_may_take_its_part_again,
                a_part_can_be_taken_from_whoever_has_it,
                a_part_that_is_not_there_cannot_be_taken,
                a_part_tells_who_has_it_and_for_how_long,
                the_parts_of_a_build_have_owners_of_their_own,
                a_lease_of_nothing_leaves_the_part_free,
                a_part_is_free_once_its_lease_has_ended,
                a_lease_may_be_as_long_as_it_likes,
                of_32_who_take_a_part_at_once_exactly_one_has_it,
                of_32_who_take_a_part_anyway_each_has_another_epoch,
            }
            holding {
                renewing_tells_which_parts_are_still_held,
                a_renewed_lease_begins_anew,
                a_renewed_lease_may_be_another,
                a_lease_of_nothing_hands_a_part_over,
                a_commit_begins_the_lease_anew,
                a_fenced_commit_begins_no_lease_anew,
                a_commit_without_a_lease_leaves_the_part_free,
                an_owner_whose_lease_has_ended_writes_until_another_takes,
                an_owner_whose_part_was_taken_writes_nothing,
                an_owner_that_was_robbed_holds_nothing,
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
