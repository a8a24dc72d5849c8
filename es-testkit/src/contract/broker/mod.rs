//! The promises of a broker.

pub mod burying;
pub mod delivering;
pub mod ordering;
pub mod settling;
pub mod sharing;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use es_core::{Begin, Consumer, DeadLetters, Publisher, StoreErrorKind};

use super::{Need, Promise, Site, UnderTest, macros::list};

/// The ports of a broker under test.
///
/// ```
/// use es_core::memory::MemoryBroker;
/// use es_testkit::contract::Broker;
///
/// let broker = Broker::new(MemoryBroker::new());
/// ```
#[derive(Clone)]
pub struct Broker {
    /// Where messages go in.
    pub publisher: Arc<dyn Publisher>,
    /// Where they come out.
    pub consumer: Arc<dyn Consumer>,
    /// Where those are kept that could not be handled.
    pub dead_letters: Arc<dyn DeadLetters>,
    lacks: Option<Need>,
}

impl Broker {
    /// A broker of which one type is all ports.
    pub fn new(all: impl Publisher + Consumer + DeadLetters) -> Self {
        let all = Arc::new(all);
        Self {
            publisher: Arc::<_>::clone(&all) as Arc<dyn Publisher>,
            consumer: Arc::<_>::clone(&all) as Arc<dyn Consumer>,
            dead_letters: all,
            lacks: None,
        }
    }

    /// A broker that says of this that it cannot do it.
    ///
    /// ```
    /// use es_core::memory::MemoryBroker;
    /// use es_testkit::contract::{Broker, Need, UnderTest};
    ///
    /// assert!(!Broker::new(MemoryBroker::new()).without(Need::History).can(Need::History));
    /// ```
    #[must_use]
    pub fn without(mut self, need: Need) -> Self {
        self.lacks = Some(need);
        self
    }
}

#[async_trait]
impl UnderTest for Broker {
    fn can(&self, need: Need) -> bool {
        self.lacks != Some(need)
    }

    async fn refuses(broker: &Site<Self>, need: Need) -> bool {
        if need != Need::History {
            return false;
        }
        let asks = delivering::asks("orders", "billing").begin(Begin::Earliest);
        let refused = broker.consumer.consume(asks).await.err().expect("the broker lacks this");
        assert_eq!(refused.kind(), StoreErrorKind::Unsupported, "{refused}");
        true
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

/// The one list.
#[doc(hidden)]
#[macro_export]
macro_rules! __broker_promises {
    ([$($callback:tt)+] [$($args:tt)*]) => {
        $($callback)+! {
            [$($args)*]
            delivering {
                a_published_message_is_delivered,
                a_message_arrives_as_it_was_sent,
                the_longest_topic_and_group_can_be_used,
                messages_with_one_key_keep_their_order,
                every_message_of_a_batch_is_delivered,
                no_messages_can_be_published,
                a_topic_without_listeners_takes_messages,
                messages_of_many_publishers_all_arrive,
                a_large_message_arrives,
                messages_to_several_addresses_keep_their_order,
            }
            sharing {
                every_group_gets_every_message,
                one_member_of_a_group_gets_a_message,
                topics_are_apart,
                a_star_is_any_one_word,
                two_stars_are_one_word_or_more,
                a_star_alone_is_every_topic,
                a_new_topic_reaches_a_group_that_listens_to_its_pattern,
                a_group_listens_to_several_topics,
                a_message_that_several_patterns_match_comes_once,
                a_later_member_adds_its_patterns,
                a_group_begins_with_what_comes_after_it,
                a_group_may_begin_with_the_earliest: History,
                a_group_keeps_what_comes_while_it_has_no_member,
                a_forgotten_group_begins_anew,
                a_queue_takes_messages_before_anybody_asks,
                a_queue_is_of_one_group,
            }
            ordering {
                a_key_is_handed_out_one_at_a_time,
                members_take_turns_with_a_key,
                a_whole_group_may_take_turns,
                without_an_order_nothing_waits,
                tenants_do_not_wait_for_each_other,
                a_retry_holds_up_its_key,
                whoever_takes_over_keeps_the_order_of_a_key,
                a_member_holds_no_more_than_its_window,
                members_that_disagree_about_the_order_are_refused,
            }
            settling {
                an_acknowledged_message_does_not_come_again,
                a_dropped_delivery_comes_again,
                a_retried_message_comes_again,
                a_retry_concerns_one_group,
                a_dead_letter_does_not_come_again,
                a_dead_letter_lets_its_key_go_on,
                what_one_member_dropped_another_one_gets,
                every_message_is_handled_in_the_end,
                a_retry_comes_no_earlier_than_asked,
                a_retry_holds_up_nobody_else,
            }
            burying {
                a_dead_letter_is_listed_with_its_reason,
                dead_letters_are_of_one_group,
                dead_letters_are_listed_by_the_page,
                a_dead_letter_is_given_back,
                a_dead_letter_is_given_back_edited,
                a_dead_letter_that_fails_again_keeps_its_number,
                a_dead_letter_is_discarded,
                a_forgotten_group_leaves_no_dead_letters,
                what_follows_a_dead_letter_is_parked,
                what_was_parked_keeps_its_order,
                what_fails_again_parks_what_follows_again,
                a_key_goes_on_when_its_dead_letters_are_gone,
                what_has_no_key_is_never_parked,
            }
        }
    };
}

/// Every promise of a broker.
///
/// ```
/// assert!(es_testkit::contract::broker_promises().len() >= 50);
/// ```
pub fn broker_promises() -> &'static [Promise<Broker>] {
    crate::__broker_promises!([list][Broker])
}
