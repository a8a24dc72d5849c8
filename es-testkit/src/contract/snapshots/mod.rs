//! The promises of snapshots.

pub mod keeping;

use es_core::Snapshots;

use super::{Promise, macros::list};

/// The one list.
#[doc(hidden)]
#[macro_export]
macro_rules! __snapshot_promises {
    ([$($callback:tt)+] [$($args:tt)*]) => {
        $($callback)+! {
            [$($args)*]
            keeping {
                a_stream_without_a_snapshot_has_none,
                a_saved_snapshot_is_loaded,
                a_newer_version_replaces_an_older_one,
                an_older_version_does_not_replace_a_newer_one,
                the_same_version_does_not_replace_itself,
                another_fingerprint_replaces_whatever_is_there,
                streams_are_apart,
                tenants_are_apart,
                any_state_round_trips,
                fingerprints_keep_all_their_bits,
                damage_is_not_hidden,
                of_64_saved_at_once_the_newest_is_kept,
            }
        }
    };
}

/// Every promise of snapshots.
///
/// ```
/// assert!(es_testkit::contract::snapshot_promises().len() > 10);
/// ```
pub fn snapshot_promises() -> &'static [Promise<dyn Snapshots>] {
    crate::__snapshot_promises!([list] [dyn Snapshots])
}
