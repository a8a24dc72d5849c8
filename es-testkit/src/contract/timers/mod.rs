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
                a_timer_stays_until_it_is_cancelled,
                a_cancelled_timer_is_not_due,
                cancelling_an_unknown_timer_changes_nothing,
                a_timer_replaces_the_one_of_its_name,
                a_cancelled_timer_can_be_set_again,
                tenants_are_apart,
                names_are_apart,
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
