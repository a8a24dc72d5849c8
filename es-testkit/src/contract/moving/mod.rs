//! The promises of moving a log: copy, import and export.

use es_core::{EventStore, Import};

use super::{Promise, macros::list};

pub mod copying;
pub mod exporting;
pub mod importing;
pub mod refusing;
mod scene;
pub mod transforming;

/// A store that can be moved to: what [`moving_contract!`](crate::moving_contract)
/// tests.
///
/// ```
/// use std::sync::Arc;
/// use es_core::memory::MemoryStore;
/// use es_testkit::contract::Movable;
///
/// let store: Arc<dyn Movable> = Arc::new(MemoryStore::new());
/// ```
pub trait Movable: EventStore + Import {}

impl<S: EventStore + Import> Movable for S {}

/// The one list.
#[doc(hidden)]
#[macro_export]
macro_rules! __moving_promises {
    ([$($callback:tt)+] [$($args:tt)*]) => {
        $($callback)+! {
            [$($args)*]
            copying {
                a_copy_to_memory_holds_the_same_in_the_same_order,
                a_copy_from_memory_holds_the_same_in_the_same_order,
                a_copy_within_one_kind_of_store_holds_the_same,
                a_copy_begun_again_appends_nothing,
                a_copy_takes_what_came_since,
                a_copy_killed_around_any_append_loses_and_doubles_nothing,
                a_copy_dropped_wherever_it_waits_loses_and_doubles_nothing,
                a_copy_goes_on_from_anywhere_it_had_come_through,
                a_copy_leaves_what_the_target_holds,
                two_copies_at_once_double_nothing,
                a_copy_that_follows_takes_what_comes,
                a_copy_of_a_part_takes_that_part,
                a_copy_of_large_events_keeps_to_the_bounds,
                an_event_id_that_occurs_twice_is_copied_twice,
                what_a_store_marks_by_itself_is_not_copied,
                a_copy_backwards_is_refused,
            }
            transforming {
                a_transform_drops_renames_splits_and_moves_to_tenants,
                a_transform_killed_around_any_append_loses_and_doubles_nothing,
                a_split_larger_than_a_batch_goes_on_from_anywhere,
                a_copy_through_upcasters_takes_every_part,
                a_copy_of_what_the_target_has_removed_is_refused,
                another_transform_under_the_same_name_is_refused,
                a_transform_that_drops_everything_comes_through,
            }
            importing {
                an_import_keeps_everything_as_it_was,
                an_import_of_nothing_leaves_an_empty_store,
                reads_of_an_import_find_what_the_source_finds,
                appends_go_on_behind_an_import,
                removals_of_the_source_hold_behind_an_import,
                an_imported_append_is_repeated_and_not_doubled,
                an_imported_append_among_others_is_known,
                a_checkpoint_of_the_source_holds_behind_an_import,
                an_import_wakes_followers,
                gaps_between_positions_are_kept,
                a_stream_may_begin_above_version_1,
                names_and_payloads_of_any_kind_are_imported,
                an_import_is_there_after_a_reopening: Reopens,
                an_import_holds_few_events_in_memory: Reopens,
                a_copy_holds_few_events_in_memory: Reopens,
            }
            refusing {
                a_store_with_events_refuses_an_import,
                a_store_with_claims_refuses_an_import,
                an_import_that_fails_leaves_nothing,
                an_import_dropped_wherever_it_waits_leaves_nothing,
                two_imports_at_once_leave_one,
                an_append_during_an_import_is_before_or_behind_it,
                a_hole_in_a_stream_is_refused,
                a_version_that_comes_twice_is_refused,
                positions_out_of_order_are_refused,
                what_no_store_records_is_refused,
            }
            exporting {
                an_export_gives_back_the_log,
                an_export_of_memory_gives_back_the_log,
                two_exports_of_one_log_are_equal,
                an_export_can_be_copied_into_a_store_with_events,
                a_file_that_was_cut_imports_nothing,
                a_file_that_was_changed_imports_nothing,
            }
        }
    };
}

/// Every promise of moving a log.
///
/// ```
/// assert!(es_testkit::contract::moving_promises().len() > 40);
/// ```
pub fn moving_promises() -> &'static [Promise<dyn Movable>] {
    crate::__moving_promises!([list] [dyn Movable])
}
