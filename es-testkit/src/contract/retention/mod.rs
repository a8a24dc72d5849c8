//! The promises of retention.

pub mod deleting;
pub mod folding;
pub mod racing;
pub mod retaining;
mod scene;
pub mod snapped;
pub mod tombstoning;
pub mod truncating;

use std::{fmt, ops::Deref, sync::Arc};

use es_core::{Retention, Snapshots};

use super::{Need, Promise, UnderTest, macros::list};

/// A log under test, and the snapshots that are kept with it.
///
/// ```
/// use es_core::memory::MemoryStore;
/// use es_testkit::contract::Retaining;
///
/// let retaining = Retaining::new(MemoryStore::new());
/// assert!(retaining.snapshots.is_none());
/// ```
pub struct Retaining {
    /// The port.
    pub log: Arc<dyn Retention>,
    /// The snapshots of the same store, if it keeps any.
    pub snapshots: Option<Arc<dyn Snapshots>>,
}

impl Retaining {
    /// A log without snapshots.
    pub fn new(log: impl Retention) -> Self {
        Self { log: Arc::new(log), snapshots: None }
    }

    /// Sets the snapshots of the same store.
    #[must_use]
    pub fn snapshots(mut self, snapshots: impl Snapshots) -> Self {
        self.snapshots = Some(Arc::new(snapshots));
        self
    }
}

impl UnderTest for Retaining {
    fn can(&self, need: Need) -> bool {
        need.is_met_by(self.log.abilities())
    }
}

impl Deref for Retaining {
    type Target = dyn Retention;

    fn deref(&self) -> &Self::Target {
        &*self.log
    }
}

impl fmt::Debug for Retaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retaining").finish_non_exhaustive()
    }
}

/// The one list.
#[doc(hidden)]
#[macro_export]
macro_rules! __retention_promises {
    ([$($callback:tt)+] [$($args:tt)*]) => {
        $($callback)+! {
            [$($args)*]
            truncating {
                a_marker_stands_where_the_last_removed_event_stood,
                the_last_event_always_remains,
                a_truncation_further_on_moves_the_marker,
                a_truncation_to_where_it_is_changes_nothing,
                a_stream_that_never_was_has_nothing_to_remove,
                versions_go_on_after_a_truncation,
                what_is_removed_is_found_by_nothing,
                a_marker_is_found_by_its_type,
                a_condition_does_not_see_what_is_removed: Criteria,
                a_batch_may_be_cut_anywhere,
                a_long_stream_of_many_writes_is_cut,
                a_retry_of_what_is_removed_has_its_first_answer,
                a_retry_over_streams_of_what_is_removed_has_its_first_answer: ManyStreams,
                other_streams_and_tenants_keep_what_they_have,
                a_read_under_way_skips_nothing_that_remains,
                a_follower_sees_what_remains_and_nothing_twice,
                a_cut_stream_is_the_same_after_a_reopening: Reopens,
                streams_of_any_name_are_cut,
            }
            deleting {
                only_the_marker_remains,
                a_deleted_stream_goes_on_with_the_next_version,
                a_stream_that_was_is_not_no_stream,
                a_deletion_at_another_version_conflicts,
                a_stream_that_never_was_cannot_be_deleted,
                a_deletion_again_answers_with_the_first,
                a_reopened_stream_can_be_deleted_again,
                a_conflict_with_a_deletion_begins_with_its_marker,
                a_deletion_frees_the_claims_of_its_stream_alone: Claims,
                a_deletion_removes_the_snapshot_of_its_stream_alone,
                followers_are_told_of_a_deletion_in_order,
                a_retry_of_what_is_deleted_has_its_first_answer,
                a_marker_cannot_be_appended,
                other_tenants_are_not_deleted,
                what_was_deleted_is_so_after_a_reopening: Reopens,
            }
            tombstoning {
                nothing_is_appended_to_a_tombstoned_stream,
                a_tombstoned_stream_spoils_its_batch: ManyStreams,
                the_others_of_a_group_go_through,
                a_retry_to_a_tombstoned_stream_has_its_first_answer,
                a_deleted_stream_can_be_tombstoned,
                a_tombstone_is_the_end,
                a_tombstone_is_there_after_a_reopening: Reopens,
            }
            retaining {
                at_most_the_newest_remain,
                only_the_young_remain,
                both_conditions_hold_together,
                the_last_remains_however_old,
                without_a_condition_all_remain,
                a_retention_again_removes_nothing,
                only_the_category_of_the_tenant_is_cut,
                a_category_of_many_streams_is_cut_wholly,
                ended_streams_are_left_as_they_are,
                two_at_once_are_not_in_each_others_way,
            }
            racing {
                deletions_and_appends_have_one_order,
                truncations_lose_no_append,
                of_a_deletion_and_appends_at_one_version_one_wins,
                nothing_follows_a_tombstone,
                a_dropped_deletion_is_done_wholly_or_not_at_all,
                a_dropped_truncation_is_done_wholly_or_not_at_all,
            }
            folding {
                a_deleted_aggregate_begins_anew,
                a_cut_aggregate_lacks_its_beginning,
                an_event_that_tells_all_begins_a_cut_aggregate,
                a_snapshot_behind_the_cut_goes_on,
                a_snapshot_before_the_cut_is_not_used,
                a_snapshot_from_before_a_deletion_is_not_used,
                a_cut_under_a_load_is_overcome,
            }
            snapped {
                a_snapshot_comes_with_the_events_from_its_version_on,
                a_snapshot_comes_with_the_events_of_its_own_stream,
                all_events_come_after_a_snapshot,
                a_snapshot_comes_with_what_a_cut_leaves,
                a_damaged_snapshot_comes_with_its_events,
            }
        }
    };
}

/// Every promise of retention.
///
/// ```
/// assert!(es_testkit::contract::retention_promises().len() > 40);
/// ```
pub fn retention_promises() -> &'static [Promise<Retaining>] {
    crate::__retention_promises!([list][Retaining])
}
