//! The promises of an event store.

use es_core::EventStore;

use super::{Promise, macros::list};

pub mod appending;
pub mod bounds;
pub mod cancellation;
pub mod claims;
pub mod concurrency;
pub mod conflicts;
pub mod criteria;
pub mod durability;
pub mod expecting;
pub mod folding;
pub mod following;
pub mod idempotency;
pub mod lagging;
pub mod names;
pub mod paging;
pub mod payloads;
pub mod reading;
mod scene;
pub mod tenants;

/// The one list: each promise with what it needs beside the ordinary.
#[doc(hidden)]
#[macro_export]
macro_rules! __event_store_promises {
    ([$($callback:tt)+] [$($args:tt)*]) => {
        $($callback)+! {
            [$($args)*]
            appending {
                an_appended_event_can_be_read,
                the_first_event_of_a_stream_has_version_1,
                the_versions_of_a_stream_are_dense,
                positions_increase_strictly,
                the_first_position_is_after_the_start,
                an_append_answers_with_the_version_of_the_stream,
                an_append_answers_with_the_position_of_its_last_event,
                each_write_of_a_batch_gets_its_own_answer: ManyStreams,
                a_first_append_is_not_a_repetition,
                the_events_of_a_batch_keep_their_order,
                the_writes_of_a_batch_keep_their_order: ManyStreams,
                one_batch_may_write_a_stream_twice,
                a_batch_over_streams_is_appended_wholly: ManyStreams,
                a_batch_over_streams_that_conflicts_leaves_nothing: ManyStreams,
                a_batch_that_conflicts_at_its_last_write_leaves_nothing,
                a_stream_that_a_refused_batch_would_have_begun_does_not_exist,
                a_guard_lets_the_batch_through_while_its_stream_stands_still: ManyStreams,
                a_guard_stops_the_batch_once_its_stream_has_moved: ManyStreams,
                a_guard_appends_nothing: ManyStreams,
                a_guard_on_a_stream_that_does_not_exist_makes_none: ManyStreams,
                a_batch_without_writes_is_invalid,
                a_batch_of_guards_alone_is_invalid,
                one_event_id_twice_in_a_batch_is_invalid,
                writers_of_different_streams_all_succeed,
            }
            expecting {
                any_accepts_a_stream_that_does_not_exist,
                any_accepts_a_stream_that_exists,
                no_stream_accepts_a_stream_that_does_not_exist,
                no_stream_refuses_a_stream_that_exists,
                exists_accepts_a_stream_that_exists,
                exists_refuses_a_stream_that_does_not_exist,
                exact_accepts_the_version_of_the_stream,
                exact_none_accepts_a_stream_that_does_not_exist,
                exact_none_refuses_a_stream_that_exists,
                exact_refuses_a_version_behind,
                exact_refuses_a_version_ahead,
                exact_refuses_the_greatest_version,
                a_second_writer_at_the_same_version_conflicts,
                the_version_of_a_stream_ignores_other_streams,
                a_later_write_expects_what_the_earlier_ones_leave,
                a_later_write_that_forgets_the_earlier_ones_conflicts,
                a_later_write_finds_the_stream_that_an_earlier_one_made,
                of_64_writers_at_one_version_exactly_one_wins,
                of_64_writers_of_a_new_stream_exactly_one_wins,
                of_64_writers_that_expect_anything_all_win,
            }
            conflicts {
                a_conflict_names_the_stream_and_its_version,
                a_conflict_returns_exactly_the_unseen_events,
                unseen_events_lead_from_the_seen_version_without_a_hole,
                a_conflict_with_no_stream_returns_the_whole_stream,
                a_conflict_of_a_version_ahead_returns_nothing,
                a_conflict_with_exists_returns_nothing,
                a_conflict_returns_as_many_events_as_the_bound,
                a_conflict_with_more_events_than_the_bound_returns_none,
                who_decides_again_on_a_conflict_succeeds,
                a_conflict_in_a_batch_names_the_stream_that_moved: ManyStreams,
                a_conflict_does_not_count_the_refused_events,
                a_conflict_does_not_hurt_the_appends_beside_it,
            }
            idempotency {
                a_retry_that_expects_anything_writes_nothing,
                a_retry_that_expects_no_stream_is_no_conflict,
                a_retry_that_expects_a_stream_writes_nothing,
                a_retry_at_an_exact_version_is_no_conflict,
                a_retry_answers_with_the_first_place,
                a_retry_with_other_events_answers_with_the_first_result,
                a_retry_after_thousands_of_other_appends_is_known,
                a_retry_whose_condition_meets_its_own_event_is_known: Criteria,
                a_retry_whose_claim_was_passed_on_is_known: Claims,
                a_retry_over_streams_answers_for_every_write: ManyStreams,
                a_retry_with_a_guard_answers_for_every_write: ManyStreams,
                a_retry_of_two_writes_of_one_stream_answers_for_both,
                folded_appends_are_each_known_by_their_id,
                a_folded_batch_whose_ids_are_all_known_is_repeated,
                single_appends_are_known_when_they_come_again_folded,
                a_batch_whose_ids_are_partly_known_is_refused_with_those,
                events_without_an_id_beside_a_known_append_are_not_swallowed,
                the_rest_of_a_partly_known_batch_can_be_appended,
                writes_that_share_an_id_around_another_are_invalid,
                a_conflict_does_not_use_up_the_id,
                an_invalid_batch_does_not_use_up_the_id,
                of_64_retries_at_once_one_writes,
                appends_without_an_id_are_never_repetitions,
                events_bear_the_id_of_their_append,
                another_id_is_another_append,
            }
            criteria {
                a_condition_that_nothing_meets_lets_the_append_through: Criteria,
                a_condition_that_an_event_meets_stops_the_append: Criteria,
                a_refusal_names_the_first_event_that_matches: Criteria,
                a_condition_ignores_what_stands_at_its_position: Criteria,
                a_condition_sees_what_stands_right_after_its_position: Criteria,
                a_condition_after_the_greatest_position_holds: Criteria,
                a_condition_on_types_asks_for_any_of_them: Criteria,
                a_condition_on_tags_asks_for_all_of_them: Criteria,
                a_condition_on_types_and_tags_asks_for_both: Criteria,
                a_condition_asks_for_any_of_its_alternatives: Criteria,
                a_refusal_names_the_first_match_of_any_alternative: Criteria,
                every_condition_must_hold: Criteria,
                a_condition_does_not_see_the_batch_itself: Criteria,
                a_condition_and_an_expected_version_both_hold: Criteria,
                a_condition_sees_every_stream: Criteria,
                of_64_writers_under_one_condition_exactly_one_wins: Criteria,
                a_read_of_criteria_finds_each_match_once_and_in_order: Criteria,
                a_read_of_criteria_without_tags_looks_everywhere: Criteria,
                a_decision_over_a_query_is_safe: Criteria,
            }
            claims {
                a_claim_is_refused_with_the_name_of_its_holder: Claims,
                a_refused_claim_leaves_nothing_of_its_batch: Claims,
                taking_ones_own_claim_again_changes_nothing: Claims,
                a_released_claim_can_be_taken: Claims,
                releasing_anothers_claim_changes_nothing: Claims,
                releasing_what_nobody_holds_changes_nothing: Claims,
                release_and_take_in_one_batch_pass_a_claim_on: Claims,
                take_and_release_in_one_batch_pass_a_claim_on: Claims,
                a_claim_is_not_passed_on_by_a_stranger: Claims,
                two_streams_cannot_take_one_claim_in_one_batch: Claims,
                one_stream_may_take_a_claim_twice_in_one_batch: Claims,
                several_claims_are_taken_together_or_not_at_all: Claims,
                a_conflict_takes_no_claim: Claims,
                a_conflict_releases_no_claim: Claims,
                scopes_are_apart: Claims,
                scope_and_key_do_not_run_together: Claims,
                a_batch_may_change_claims_alone: Claims,
                a_retry_of_claims_alone_is_known: Claims,
                a_claim_may_belong_to_any_stream_of_the_batch: ManyStreams Claims,
                of_64_streams_that_take_one_claim_exactly_one_gets_it: Claims,
            }
            reading {
                an_empty_log_has_no_events,
                a_stream_that_does_not_exist_is_empty,
                the_whole_log_can_be_read,
                one_stream_can_be_read,
                one_category_can_be_read,
                a_category_that_does_not_exist_is_empty,
                one_type_can_be_read,
                several_types_can_be_read,
                a_type_that_does_not_exist_is_empty,
                one_tag_can_be_read,
                all_of_several_tags_can_be_read,
                a_tag_that_does_not_exist_is_empty,
                one_correlation_can_be_read,
                a_correlation_that_does_not_exist_is_empty,
                a_filter_narrows_a_stream,
                filters_narrow_a_category_together,
                a_span_of_time_can_be_read,
                a_clock_that_goes_back_does_not_change_the_order,
                what_one_append_wrote_can_be_read,
                an_append_that_never_happened_wrote_nothing,
                events_without_an_append_id_belong_to_no_append,
                a_read_begins_after_its_position,
                a_read_ends_at_its_upper_bound,
                a_window_narrows_every_scope,
                after_the_end_there_is_nothing,
                a_stream_can_be_read_after_a_version,
                backwards_is_the_reverse_of_forwards,
                a_limit_counts_the_events_that_match,
                a_limit_backwards_gives_the_newest,
                a_limit_of_none_finds_nothing,
                a_read_again_is_the_same,
                every_read_is_a_filter_of_the_log,
            }
            paging {
                more_than_a_page_is_read_wholly,
                no_page_is_larger_than_the_bound,
                several_pages_can_be_read_backwards,
                a_stream_of_several_pages_is_read_wholly,
                a_limit_around_the_size_of_a_page_is_exact,
                a_log_around_the_size_of_a_page_is_read_wholly,
                rare_events_are_found_across_pages,
                pages_of_large_payloads_are_read_wholly,
                through_passes_no_event_that_was_not_offered,
                through_covers_the_events_of_its_page,
                through_reaches_the_head_even_if_nothing_matches,
                through_never_passes_the_head,
                through_never_passes_the_upper_bound,
                through_is_never_before_the_beginning_of_the_read,
                a_read_can_go_on_from_the_end_of_any_page,
                a_read_that_is_dropped_harms_nobody,
                appends_do_not_disturb_a_read_under_way,
            }
            following {
                a_follower_is_offered_what_is_there,
                a_follower_is_offered_what_comes,
                the_horizon_of_a_quiet_log_is_its_end,
                nothing_is_appended_behind_a_horizon,
                a_follower_of_an_empty_log_waits_for_the_first_event,
                a_follower_wakes_up_after_idling,
                the_hand_over_to_what_comes_loses_and_doubles_nothing,
                followers_from_the_middle_see_the_rest_of_a_busy_log,
                a_follower_from_the_middle_begins_after_its_position,
                a_follower_from_the_head_sees_only_what_comes,
                two_followers_are_offered_the_same,
                a_follower_of_a_stream_is_offered_that_stream,
                a_follower_of_a_category_is_offered_that_category,
                a_follower_of_types_is_offered_those_types,
                a_follower_of_a_tag_is_offered_that_tag,
                a_follower_of_a_correlation_is_offered_that_correlation,
                a_follower_of_criteria_is_offered_what_matches: Criteria,
                a_checkpoint_moves_past_events_that_do_not_match,
                a_follower_goes_on_from_any_of_its_checkpoints,
                a_follower_may_come_before_what_it_follows,
                a_follower_backwards_is_refused,
                a_follower_with_a_limit_is_refused,
                a_follower_with_an_upper_bound_is_offered_nothing_beyond,
                a_slow_follower_misses_nothing,
                a_followers_pages_are_bounded,
                a_follower_of_an_append_comes_to_the_end_of_the_log,
                a_checkpoint_never_passes_the_head,
                a_follower_is_offered_a_batch_in_its_order: ManyStreams,
                a_follower_that_is_dropped_harms_nobody,
                a_follower_is_not_offered_what_was_refused,
            }
            lagging {
                a_follower_that_has_seen_all_has_no_lag,
                the_lag_counts_what_was_not_seen,
                the_lag_of_a_stream_is_exact,
                the_lag_counts_only_what_is_followed,
                the_lag_of_criteria_counts_what_matches: Criteria,
                the_lag_is_never_less_than_it_is,
                the_lag_ends_at_an_upper_bound,
                the_age_is_that_of_the_first_unseen_event,
                the_age_is_never_negative,
                a_lag_far_behind_is_an_upper_bound,
            }
            tenants {
                two_tenants_may_use_one_stream_name,
                the_versions_of_two_tenants_are_apart,
                a_conflict_shows_nothing_of_another_tenant,
                the_claims_of_two_tenants_are_apart: Claims,
                the_append_ids_of_two_tenants_are_apart,
                a_condition_sees_only_its_tenant: Criteria,
                no_read_shows_the_events_of_another_tenant,
                a_read_of_criteria_shows_nothing_of_another_tenant: Criteria,
                every_tenant_can_be_read_in_one_order,
                a_follower_is_offered_only_its_tenant,
                a_batch_of_two_tenants_is_invalid,
                tenants_that_look_alike_are_apart,
                the_answers_to_one_tenant_do_not_depend_on_another,
            }
            bounds {
                a_batch_has_at_most_so_many_events,
                the_events_of_all_writes_count,
                a_payload_has_at_most_so_many_bytes,
                a_batch_has_at_most_so_many_bytes,
                an_event_has_at_most_so_many_tags,
                metadata_has_at_most_so_many_bytes,
                json_is_at_most_so_deep,
                depth_is_for_json_alone,
                a_reserved_type_is_invalid,
                one_event_above_a_bound_spoils_its_batch,
                names_have_at_most_so_many_bytes,
            }
            names {
                streams_of_any_name_are_apart,
                categories_of_any_name_are_apart,
                hyphens_belong_to_the_id,
                types_of_any_name_are_apart,
                tags_of_any_value_are_apart,
                criteria_take_names_as_they_are: Criteria,
                claims_of_any_key_are_apart: Claims,
                tenants_of_any_name_are_apart,
                correlations_of_any_text_are_apart,
                names_that_look_alike_are_apart,
                upper_and_lower_case_are_apart,
                the_longest_names_round_trip,
                control_characters_make_no_name,
            }
            payloads {
                an_empty_payload_round_trips,
                every_byte_round_trips,
                zero_bytes_round_trip,
                bytes_that_are_no_text_round_trip,
                json_numbers_are_kept_as_written,
                json_is_kept_as_written,
                random_payloads_round_trip,
                the_largest_payload_round_trips,
                content_types_round_trip,
                schema_versions_round_trip,
                one_type_may_come_in_several_forms,
                tags_keep_their_order,
                metadata_round_trips,
                hostile_metadata_round_trips,
                free_metadata_is_apart_from_the_known,
                event_ids_round_trip,
                the_time_of_recording_does_not_change,
            }
            durability {
                a_store_promises_what_it_says,
                the_abilities_of_a_store_do_not_change,
                events_are_there_after_a_reopening: Reopens,
                an_empty_log_is_empty_after_a_reopening: Reopens,
                versions_go_on_after_a_reopening: Reopens,
                positions_go_on_after_a_reopening: Reopens,
                append_ids_are_known_after_a_reopening: Reopens,
                claims_are_held_after_a_reopening: Claims Reopens,
                conditions_see_what_was_before_a_reopening: Criteria Reopens,
                tenants_are_apart_after_a_reopening: Reopens,
                a_follower_goes_on_after_a_reopening: Reopens,
                metadata_is_there_after_a_reopening: Reopens,
                a_store_can_be_reopened_many_times: Reopens,
                batches_are_whole_after_a_reopening: ManyStreams Reopens,
                the_last_append_before_a_closing_is_there: Reopens,
            }
            cancellation {
                a_dropped_append_is_resolved_by_its_id,
                a_dropped_batch_is_there_wholly_or_not_at_all: ManyStreams,
                a_dropped_append_harms_nobody,
                many_dropped_appends_at_once_make_one_copy_each,
                a_timed_out_append_is_made_once_by_the_retry,
                a_dropped_read_harms_nobody,
                a_dropped_follower_harms_nobody,
            }
            concurrency {
                the_history_of_many_clients_keeps_the_rules,
                a_reader_of_a_busy_log_never_sees_a_hole,
                nobody_sees_a_part_of_a_batch: ManyStreams,
                what_was_acknowledged_is_read_at_once,
                no_update_is_lost_among_writers_that_decide_again,
                batches_that_cross_do_not_block_each_other: ManyStreams,
                positions_keep_to_real_time,
            }
            folding {
                random_commands_agree_with_the_model,
                an_aggregate_is_the_fold_of_its_stream,
                snapshot_and_tail_equal_a_full_replay,
                a_snapshot_of_the_last_event_is_the_stream,
                a_snapshot_of_a_stream_that_is_gone_is_not_used,
            }
        }
    };
}

/// Every promise of an event store.
///
/// ```
/// for promise in es_testkit::contract::event_store_promises() {
///     println!("{}: {}", promise.module, promise.sentence());
/// }
/// ```
pub fn event_store_promises() -> &'static [Promise<dyn EventStore>] {
    crate::__event_store_promises!([list] [dyn EventStore])
}
