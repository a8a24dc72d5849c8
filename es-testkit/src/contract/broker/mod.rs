//! The promises of a broker.

pub mod delivering;
pub mod settling;

use std::{fmt, sync::Arc};

use es_core::{Consumer, Publisher};

use super::{Promise, UnderTest, macros::list};

/// The two halves of a broker under test.
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
}

impl Broker {
    /// A broker whose two halves are one type.
    pub fn new(both: impl Publisher + Consumer) -> Self {
        let both = Arc::new(both);
        Self { publisher: Arc::<_>::clone(&both) as Arc<dyn Publisher>, consumer: both }
    }
}

impl UnderTest for Broker {}

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
                messages_with_one_key_keep_their_order,
                every_message_of_a_batch_is_delivered,
                no_messages_can_be_published,
                every_group_gets_every_message,
                one_member_of_a_group_gets_a_message,
                topics_are_apart,
                a_topic_without_listeners_takes_messages,
                messages_of_many_publishers_all_arrive,
                a_large_message_arrives,
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
            }
        }
    };
}

/// Every promise of a broker.
///
/// ```
/// assert!(es_testkit::contract::broker_promises().len() > 10);
/// ```
pub fn broker_promises() -> &'static [Promise<Broker>] {
    crate::__broker_promises!([list][Broker])
}
