//! The contract notices every known bug.

use std::{fmt, panic};

use es_testkit::mutants::{
    BrokerBug, Bug, Catch, InlineBug, ViewBug, hunt, hunt_in_brokers, hunt_in_inline_models,
    hunt_in_views,
};

/// Most catches that are looked for: one would do, the others are shown.
const ENOUGH: usize = 4;

fn assert_is_caught<B: fmt::Debug + Copy>(bug: B, hunt: fn(B, usize) -> Vec<Catch>) {
    panic::set_hook(Box::new(|_| {}));
    let catches = hunt(bug, ENOUGH);
    let _ = panic::take_hook();
    let names: Vec<_> = catches.iter().map(|catch| catch.promise.as_str()).collect();
    println!("{bug:?} is caught by {}", names.join(", "));
    assert!(!catches.is_empty(), "no promise notices {bug:?}");
}

macro_rules! bugs {
    ($kind:ident, $hunt:ident, $every:ident; $($name:ident: $bug:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            assert_is_caught($kind::$bug, $hunt);
        })*

        #[test]
        fn $every() {
            let hunted = [$($kind::$bug),*];
            assert!($kind::ALL.iter().all(|bug| hunted.contains(bug)));
        }
    };
}

bugs! {
    Bug, hunt, every_bug_is_hunted;
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
    a_snapshot_without_what_follows_is_noticed: SnapshotWithoutTail,
    a_tag_that_is_taken_as_a_prefix_is_noticed: TagIsPrefix,
    a_dropped_append_that_is_half_done_is_noticed: DroppedAppendHalfDone,
    a_check_that_is_apart_from_its_write_is_noticed: CheckThenAct,
}

bugs! {
    ViewBug, hunt_in_views, every_bug_of_read_models_is_hunted;
    a_commit_that_ignores_the_epoch_is_noticed: EpochIgnored,
    a_commit_that_ignores_the_position_is_noticed: PositionIgnored,
    a_commit_that_is_apart_from_its_check_is_noticed: CheckThenWrite,
    a_commit_to_nothing_that_succeeds_is_noticed: GoneForgiven,
    a_parked_row_among_the_rows_is_noticed: ParkedAmongRows,
    a_deleted_row_that_takes_a_place_is_noticed: DeletedTakesPlace,
    an_unfinished_build_that_answers_is_noticed: NewestAnswers,
    a_build_that_is_begun_twice_is_noticed: BegunTwice,
    an_epoch_that_comes_back_is_noticed: EpochsBeginAnew,
    a_build_that_answers_while_behind_is_noticed: ServesBehind,
    a_build_that_answers_unseen_is_noticed: ServesUnseen,
    a_parked_row_that_is_left_is_noticed: ParkedLeft,
    a_divided_part_that_keeps_its_epoch_is_noticed: DividedKeepEpoch,
    a_join_of_parts_apart_is_noticed: JoinedAnywhere,
    an_ignored_lease_is_noticed: LeaseIgnored,
    a_look_that_is_apart_from_its_taking_is_noticed: LookThenTake,
    a_part_that_is_taken_under_its_old_epoch_is_noticed: TakenKeepsEpoch,
    a_lease_that_does_not_end_is_noticed: LeaseForEver,
    a_renewal_that_ignores_the_epoch_is_noticed: RenewIgnoresEpoch,
    a_renewal_that_ignores_the_owner_is_noticed: RenewIgnoresOwner,
    a_lease_that_outlives_its_hand_over_is_noticed: HandOverIgnored,
    a_commit_that_renews_nothing_is_noticed: CommitKeepsLease,
}

bugs! {
    InlineBug, hunt_in_inline_models, every_bug_of_inline_models_is_hunted;
    an_event_that_is_not_folded_is_noticed: EventForgotten,
    events_that_are_folded_backwards_are_noticed: FoldedBackwards,
    a_row_that_is_not_written_is_noticed: RowForgotten,
    a_row_that_does_not_end_is_noticed: DeletionForgotten,
    rows_that_are_begun_anew_are_noticed: RowsBegunAnew,
    an_event_that_is_appended_without_its_fold_is_noticed: FailureForgiven,
    a_row_of_another_tenant_is_noticed: TenantForgotten,
    a_commit_that_is_not_told_is_noticed: NothingTold,
}

bugs! {
    BrokerBug, hunt_in_brokers, every_bug_of_brokers_is_hunted;
    an_ack_before_handling_is_noticed: AckBeforeHandling,
    an_ignored_order_is_noticed: OrderIgnored,
    an_ignored_tenant_of_a_key_is_noticed: TenantIgnored,
    a_retry_that_does_not_wait_is_noticed: RetryAtOnce,
    a_retry_behind_the_others_is_noticed: RetryAtTheEnd,
    a_forgotten_attempt_is_noticed: AttemptsForgotten,
    a_greedy_star_is_noticed: StarIsGreedy,
    a_queue_that_is_a_topic_is_noticed: QueueIsTopic,
    a_queue_that_needs_a_member_is_noticed: QueueNeedsMember,
    a_group_that_begins_too_early_is_noticed: BeginsEarliest,
    an_ignored_window_is_noticed: WindowIgnored,
    a_lost_dead_letter_is_noticed: DeadLetterLost,
    a_dead_letter_given_back_to_all_is_noticed: GivenBackToAll,
    a_dead_letter_given_back_and_kept_is_noticed: GivenBackAndKept,
    a_forgotten_edit_is_noticed: EditForgotten,
    a_key_that_goes_on_is_noticed: ParksNothing,
    lost_metadata_is_noticed: MetadataLost,
    a_group_that_is_not_forgotten_is_noticed: ForgetsNothing,
    a_disagreement_about_the_order_is_noticed: AnyOrderWill,
}
