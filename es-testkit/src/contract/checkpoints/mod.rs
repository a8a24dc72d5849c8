//! The promises of checkpoints.

pub mod owning;

use es_core::Checkpoints;

use super::{Promise, macros::list};

/// The one list.
#[doc(hidden)]
#[macro_export]
macro_rules! __checkpoint_promises {
    ([$($callback:tt)+] [$($args:tt)*]) => {
        $($callback)+! {
            [$($args)*]
            owning {
                an_unknown_name_is_at_the_start,
                a_saved_checkpoint_is_loaded,
                an_owner_moves_it_step_by_step,
                who_has_seen_another_position_is_fenced_off,
                an_owner_that_was_overtaken_is_fenced_off,
                the_epoch_counts_at_the_same_position,
                an_owner_may_send_it_back,
                saving_the_same_again_changes_nothing,
                the_start_can_be_saved,
                nobody_has_seen_an_unknown_name,
                names_are_apart,
                large_numbers_are_kept,
                of_32_that_take_over_at_once_exactly_one_is_the_owner,
                the_winners_position_stands,
            }
        }
    };
}

/// Every promise of checkpoints.
///
/// ```
/// assert!(es_testkit::contract::checkpoint_promises().len() > 10);
/// ```
pub fn checkpoint_promises() -> &'static [Promise<dyn Checkpoints>] {
    crate::__checkpoint_promises!([list] [dyn Checkpoints])
}
