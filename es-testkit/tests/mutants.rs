//! The contract notices every known bug.

use std::panic;

use es_testkit::mutants::{Bug, hunt};

/// Most catches that are looked for: one would do, the others are shown.
const ENOUGH: usize = 4;

fn assert_is_caught(bug: Bug) {
    panic::set_hook(Box::new(|_| {}));
    let catches = hunt(bug, ENOUGH);
    let _ = panic::take_hook();
    let names: Vec<_> = catches.iter().map(|catch| catch.promise.as_str()).collect();
    println!("{bug:?} is caught by {}", names.join(", "));
    assert!(!catches.is_empty(), "no promise notices {bug:?}");
}

macro_rules! bugs {
    ($($name:ident: $bug:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            assert_is_caught(Bug::$bug);
        })*

        #[test]
        fn every_bug_is_hunted() {
            let hunted = [$(Bug::$bug),*];
            assert!(Bug::ALL.iter().all(|bug| hunted.contains(bug)));
        }
    };
}

bugs! {
    a_lost_conflict_check_is_noticed: ConflictCheckLost,
    an_exact_version_that_is_off_by_one_is_noticed: ExactOffByOne,
    a_doubled_retry_is_noticed: RetryDoubled,
    an_id_that_is_remembered_only_for_exact_versions_is_noticed: IdOnlyForExact,
    a_retry_that_conflicts_with_itself_is_noticed: RetryConflicts,
    a_partial_batch_is_noticed: PartialBatch,
    a_conflict_that_tells_too_little_is_noticed: ConflictTailShort,
    a_conflict_that_tells_too_much_is_noticed: ConflictTailLong,
    a_leak_between_tenants_is_noticed: TenantLeak,
    a_wrong_limit_backwards_is_noticed: BackwardsLimitWrong,
    an_ignored_condition_is_noticed: UnlessIgnored,
    a_condition_that_is_off_by_one_is_noticed: UnlessOffByOne,
    a_claim_that_is_not_released_is_noticed: ClaimNotReleased,
    a_page_that_claims_too_much_is_noticed: ThroughTooFar,
    a_rewritten_payload_is_noticed: PayloadRewritten,
    a_loss_at_the_end_of_a_page_is_noticed: PageBoundaryLoses,
    a_loss_at_the_hand_over_is_noticed: HandOverMisses,
    a_doubling_at_the_hand_over_is_noticed: HandOverDoubles,
    a_filter_that_is_forgotten_is_noticed: FollowForgetsFilter,
    a_tail_that_is_one_short_is_noticed: TailOneShort,
    an_end_that_is_invented_is_noticed: EndInvented,
    a_tag_that_is_taken_as_a_prefix_is_noticed: TagIsPrefix,
    a_dropped_append_that_is_half_done_is_noticed: DroppedAppendHalfDone,
    a_check_that_is_apart_from_its_write_is_noticed: CheckThenAct,
}
