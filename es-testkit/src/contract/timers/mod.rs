//! The promises of timers.

pub mod waking;

use es_core::Timers;

use super::{Promise, macros::list};

/// The one list.
#[doc(hidden)]
#[macro_export]
macro_rules! __timer_promises {
    ([$($callback:tt)+] [$($args:tt)*]) => {
        $($callback)+! {
            [$($args)*]
            waking {
                without_timers_nothing_is_due,
                a_timer_is_due_from_its_time_on,
                a_timer_is_due_to_the_microsecond,
                the_most_overdue_comes_first,
                no_more_are_due_than_the_limit,
                a_timer_that_is_not_done_is_due_again,
                a_cancelled_timer_is_not_due,
                cancelling_an_unknown_timer_changes_nothing,
                a_timer_replaces_the_one_of_its_name,
                a_cancelled_timer_can_be_set_again,
                tenants_are_apart,
                owners_are_apart,
                names_are_apart,
                what_is_taken_is_given_to_nobody_else,
                what_is_done_is_not_due,
                who_is_late_does_not_end_the_turn_of_another,
                what_is_set_anew_while_it_is_taken_is_due,
                what_is_cancelled_while_it_is_taken_is_not_due_again,
                the_next_one_is_the_first_that_is_due,
                of_16_that_take_at_once_each_timer_is_given_to_one,
                any_payload_round_trips,
                a_timer_may_be_due_at_any_time,
                timers_of_one_moment_are_all_due,
                of_64_timers_set_at_once_all_are_kept,
            }
        }
    };
}

/// Every promise of timers.
///
/// ```
/// assert!(es_testkit::contract::timer_promises().len() > 10);
/// ```
pub fn timer_promises() -> &'static [Promise<dyn Timers>] {
    crate::__timer_promises!([list] [dyn Timers])
}
