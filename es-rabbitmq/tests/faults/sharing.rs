//! Several processes of one group.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use es_core::{
    Consumer, DeadLetterQuery, DeadLetters, Deliveries, Fault, FaultKind, Order, StoreErrorKind,
};
use es_rabbitmq::RabbitBroker;
use futures_util::{TryStreamExt, future::OptionFuture};
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet};

use crate::site::{SOON, Seen, Site, asks, group, in_turns, keyed, message, next, publish, take};

/// What several members share.
#[derive(Default)]
struct Work {
    seen: Mutex<Seen>,
    counts: [AtomicUsize; 2],
    changed: watch::Sender<()>,
}

impl Work {
    async fn handle(self: Arc<Self>, who: usize, mut member: Deliveries) {
        loop {
            let delivery = next(&mut member).await;
            self.seen.lock().see(&delivery.message.id);
            self.counts[who].fetch_add(1, Ordering::SeqCst);
            delivery.ack().await.expect("an answer that arrives");
            self.changed.send_replace(());
        }
    }

    async fn until(&self, done: impl Fn(&Seen) -> bool) {
        let mut changed = self.changed.subscribe();
        while !done(&self.seen.lock()) {
            changed.changed().await.expect("it is not dropped");
        }
    }

    fn has(&self, who: usize) -> usize {
        self.counts[who].load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_group_and_each_message_comes_once() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let (work, mut tasks) = (Arc::new(Work::default()), JoinSet::new());
        for (who, broker) in [&one, &two].into_iter().enumerate() {
            let member = broker.consume(asks("orders")).await.expect("a member");
            tasks.spawn(Arc::clone(&work).handle(who, member));
        }
        let mut rounds = 0;
        while work.has(0) == 0 || work.has(1) == 0 || rounds < 20 {
            rounds += 1;
            publish(&one, "orders", in_turns(64, rounds..=rounds)).await;
            work.until(|seen| seen.count == rounds * 64).await;
        }
        assert_eq!(work.seen.lock().repeated, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_hands_over_without_loss_and_without_repetition() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut first = one.consume(asks("orders")).await.expect("a member");
        publish(&one, "orders", in_turns(20, 1..=50)).await;
        let mut seen = Seen::default();
        for _ in 0..300 {
            seen.see(&take(&mut first).await);
        }
        let mut second = two.consume(asks("orders")).await.expect("a member");
        drop(first);
        while seen.count < 1_000 {
            seen.see(&take(&mut second).await);
        }
        assert_eq!(seen.repeated, 0);
    })
    .await;
}

/// Publishes for all keys in turns, not far before those who handle it, until nobody tells
/// any more how many they have handled. Returns how many it has published.
async fn publish_ahead(broker: RabbitBroker, mut handled: watch::Receiver<Option<usize>>) -> usize {
    const KEYS: usize = 40;
    let mut published = 0;
    loop {
        let is_time =
            |handled: &Option<usize>| handled.is_none_or(|handled| handled + 200 > published);
        if handled.wait_for(is_time).await.expect("somebody who handles").is_none() {
            return published;
        }
        let round = published / KEYS + 1;
        publish(&broker, "orders", in_turns(KEYS, round..=round)).await;
        published += KEYS;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_come_and_go_while_others_publish_turn_nothing_round() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let (handled, told) = watch::channel(Some(0));
        let mut stays = one.consume(asks("orders")).await.expect("a member");
        let mut publishing = JoinSet::new();
        publishing.spawn(publish_ahead(site.broker().await, told));
        let mut seen = Seen::default();
        for _ in 0..6 {
            let mut guest = Some(two.consume(asks("orders")).await.expect("a member"));
            let (mut its, mut after) = (0, 0);
            while after < 300 {
                let delivery = tokio::select! {
                    delivery = next(&mut stays) => delivery,
                    Some(delivery) = OptionFuture::from(guest.as_mut().map(next)) => {
                        its += 1;
                        delivery
                    }
                };
                seen.see(&delivery.message.id);
                handled.send_replace(Some(seen.count));
                delivery.ack().await.expect("an answer that arrives");
                if its == 100 {
                    guest = None;
                    after += 1;
                }
            }
        }
        handled.send_replace(None);
        let all = publishing.join_next().await.expect("a task").expect("a broker that takes it");
        seen.until(all, vec![&mut stays]).await;
        assert_eq!(seen.repeated, 0, "nothing is handed over that is in hand");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_order_of_the_whole_two_processes_take_turns() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let asks = || asks("orders").in_order(Order::Whole);
        let mut first = one.consume(asks()).await.expect("a member");
        let mut second = two.consume(asks()).await.expect("a member");
        publish(&one, "orders", (0..100).map(message).collect()).await;
        for at in 0..100 {
            let delivery = tokio::select! {
                delivery = next(&mut first) => delivery,
                delivery = next(&mut second) => delivery,
            };
            assert_eq!(delivery.message.id, at.to_string());
            delivery.ack().await.expect("an answer that arrives");
        }
        drop(first);
        publish(&one, "orders", vec![message("after")]).await;
        assert_eq!(take(&mut second).await, "after");
    })
    .await;
}

/// What was sent to its queue before anybody said in which order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_turns_out_to_be_of_one_order_loses_nothing() {
    use es_core::Publisher;
    Site::run(async |site| {
        let broker = site.broker().await;
        let queue = group().into();
        broker.publish(&queue, (0..20).map(message).collect()).await.expect("it takes it");
        let mut member =
            broker.consume(asks("orders").in_order(Order::Whole)).await.expect("a member");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            assert!(seen.insert(take(&mut member).await), "each comes once");
        }
        broker.publish(&queue, (20..40).map(message).collect()).await.expect("it takes it");
        for at in 20..40 {
            assert_eq!(take(&mut member).await, at.to_string());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_gives_back_or_discards_another_one_goes_on_with() {
    Site::run(async |site| {
        let (works, looks) = (site.broker().await, site.broker().await);
        let mut member = works.consume(asks("orders").parking()).await.expect("a member");
        publish(&works, "orders", vec![keyed(0, 1), keyed(0, 2), message("end")]).await;
        let fault = Fault::new(FaultKind::Permanent, "no such order");
        let mut ended = false;
        while !ended || letters(&looks).await.len() < 2 {
            let delivery = next(&mut member).await;
            match delivery.message.id.as_str() {
                "0/1" => delivery.dead_letter(fault.clone()).await,
                "end" => {
                    ended = true;
                    publish(&works, "orders", vec![message("end")]).await;
                    delivery.ack().await
                }
                other => panic!("{other} is parked"),
            }
            .expect("an answer that arrives");
        }
        let letters = letters(&looks).await;
        assert!(looks.discard(&group(), letters[0].id).await.expect("it is discarded"));
        assert!(looks.give_back(&group(), letters[1].id, None).await.expect("it is given back"));
        while take(&mut member).await != "0/2" {}
        publish(&works, "orders", vec![keyed(0, 3)]).await;
        while take(&mut member).await != "0/3" {}
    })
    .await;
}

async fn letters(broker: &RabbitBroker) -> Vec<es_core::DeadLetter> {
    broker.dead_letters(DeadLetterQuery::of(group())).await.expect("a list")
}

/// A member that takes over knows which keys stand still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_over_parks_what_follows_a_dead_letter() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut first = one.consume(asks("orders").parking()).await.expect("a member");
        publish(&one, "orders", vec![keyed(0, 1)]).await;
        let fault = Fault::new(FaultKind::Permanent, "no such order");
        next(&mut first).await.dead_letter(fault).await.expect("an answer that arrives");
        drop(first);
        let mut second = two.consume(asks("orders").parking()).await.expect("a member");
        // Both keys are of one partition, so that the second comes after the first.
        publish(&one, "orders", vec![keyed(0, 2), keyed(4, 1)]).await;
        assert_eq!(take(&mut second).await, "4/1");
        let letters = letters(&two).await;
        let kinds: Vec<_> = letters.iter().map(|letter| letter.fault.kind).collect();
        assert_eq!(kinds, [FaultKind::Permanent, FaultKind::Behind]);
        for letter in letters {
            assert!(one.give_back(&group(), letter.id, None).await.expect("it is given back"));
        }
        assert_eq!([take(&mut second).await, take(&mut second).await], ["0/1", "0/2"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_forgotten_tells_the_members_that_it_had_elsewhere() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut member = one.consume(asks("orders")).await.expect("a member");
        two.forget(&group()).await.expect("a broker that forgets");
        let told = tokio::time::timeout(SOON, member.try_next()).await.expect("in time");
        assert_eq!(told.expect_err("it is gone").kind(), StoreErrorKind::Closed);
        assert!(member.try_next().await.expect("an end").is_none());
        let mut anew = one.consume(asks("orders")).await.expect("a member");
        publish(&two, "orders", vec![message("anew")]).await;
        assert_eq!(take(&mut anew).await, "anew");
    })
    .await;
}

/// It goes on for other groups, and has no partition of this one any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_a_living_process_has_forgotten_is_served_by_another_one() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut member = one.consume(asks("orders")).await.expect("a member");
        publish(&one, "orders", in_turns(20, 1..=1)).await;
        Seen::default().until(20, vec![&mut member]).await;
        one.forget(&group()).await.expect("a broker that forgets");
        let mut anew = two.consume(asks("orders")).await.expect("a member");
        publish(&one, "orders", in_turns(20, 1..=1)).await;
        Seen::default().until(20, vec![&mut anew]).await;
    })
    .await;
}
