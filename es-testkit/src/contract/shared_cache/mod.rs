//! The promises of a cache that processes share.

pub mod finding;
pub mod invalidating;
pub mod listening;

use es_core::SharedCache;

use super::{Promise, macros::list};

/// The one list.
#[doc(hidden)]
#[macro_export]
macro_rules! __shared_cache_promises {
    ([$($callback:tt)+] [$($args:tt)*]) => {
        $($callback)+! {
            [$($args)*]
            finding {
                nothing_is_found_where_nothing_was_put,
                what_was_put_is_found,
                any_value_round_trips,
                a_later_answer_takes_the_place_of_an_earlier_one,
                an_earlier_answer_does_not_take_the_place_of_a_later_one,
                keys_are_apart,
                an_answer_is_found_for_its_time_and_no_longer,
                an_answer_says_how_long_it_is_found,
                an_answer_without_tags_is_found,
            }
            invalidating {
                an_invalidated_answer_is_not_found,
                one_tag_of_several_is_enough,
                other_tags_are_left_alone,
                everything_takes_all_answers_away,
                an_answer_that_was_being_made_when_its_tag_was_invalidated_is_never_found,
                an_answer_that_was_being_made_when_everything_was_invalidated_is_never_found,
                an_answer_that_was_made_after_the_invalidation_is_found,
                a_tag_that_nobody_has_used_can_be_invalidated,
                of_64_answers_put_around_an_invalidation_none_that_was_begun_before_is_found,
            }
            listening {
                who_listens_is_told_everything_first,
                who_listens_hears_what_is_invalidated,
                several_who_listen_hear_the_same,
                what_was_heard_is_not_found_any_more,
            }
        }
    };
}

/// Every promise of a cache that processes share.
///
/// ```
/// assert!(es_testkit::contract::shared_cache_promises().len() > 20);
/// ```
pub fn shared_cache_promises() -> &'static [Promise<dyn SharedCache>] {
    crate::__shared_cache_promises!([list] [dyn SharedCache])
}
