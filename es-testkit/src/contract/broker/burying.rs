//! What cannot be handled is kept apart, and given back.

use es_core::{
    DeadLetter, DeadLetterId, DeadLetterQuery, Deliveries, Fault, FaultKind, Message, Metadata,
};

use super::{
    Broker,
    delivering::{asks, consume, group, join, message, next, publish, take, take_any, topic},
};
use crate::contract::Site;

fn fault(reason: &str) -> Fault {
    Fault::new(FaultKind::Permanent, reason)
}

fn of_ada(id: impl ToString) -> Message {
    message(id).with_key("ada")
}

async fn letters(broker: &Broker, by: &str) -> Vec<DeadLetter> {
    let letters = broker.dead_letters.dead_letters(DeadLetterQuery::of(group(by))).await;
    letters.expect("a broker that lists them")
}

async fn ids(broker: &Broker, by: &str) -> Vec<String> {
    letters(broker, by).await.into_iter().map(|letter| letter.message.id).collect()
}

/// Lets the next message fail for good, and returns its id.
async fn bury(deliveries: &mut Deliveries, reason: &str) -> String {
    let delivery = next(deliveries).await;
    let id = delivery.message.id.clone();
    delivery.dead_letter(fault(reason)).await.expect("an answer that arrives");
    id
}

async fn give_back(broker: &Broker, by: &str, letter: DeadLetterId) -> bool {
    let given = broker.dead_letters.give_back(&group(by), letter, None).await;
    given.expect("a broker that gives back")
}

/// A dead letter is listed, with all that is known of it.
pub async fn a_dead_letter_is_listed_with_its_reason(broker: &Site<Broker>) {
    let mut billing = join(broker, "order.*", "billing").await;
    let sent = of_ada(1).with_metadata(Metadata::new().correlation_id("c").with("a", "b"));
    publish(broker, "order.placed", vec![sent.clone()]).await;
    next(&mut billing).await.retry(std::time::Duration::ZERO).await.expect("an answer");
    let before = broker.now();
    bury(&mut billing, "no such \u{1f980}").await;
    let found = letters(broker, "billing").await;
    assert_eq!(found.len(), 1);
    let letter = &found[0];
    assert_eq!((&letter.message, &letter.to), (&sent, &topic("order.placed").into()));
    assert_eq!((&letter.group, letter.attempts), (&group("billing"), 2));
    assert_eq!(letter.fault, fault("no such \u{1f980}"));
    assert!(letter.at >= before - chrono::TimeDelta::seconds(5), "{} is long ago", letter.at);
}

/// The dead letters of one group are none of another's.
pub async fn dead_letters_are_of_one_group(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let mut shipping = join(broker, "orders", "shipping").await;
    publish(broker, "orders", vec![message(1)]).await;
    bury(&mut billing, "no such order").await;
    assert_eq!(take(&mut shipping, 1).await, ["1"]);
    assert_eq!(ids(broker, "billing").await, ["1"]);
    assert!(ids(broker, "shipping").await.is_empty());
    assert!(ids(broker, "nobody").await.is_empty());
}

/// Many dead letters are listed page by page.
pub async fn dead_letters_are_listed_by_the_page(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", (0..25).map(|n| of_ada(format!("{n:02}"))).collect()).await;
    for _ in 0..25 {
        bury(&mut billing, "no such order").await;
    }
    let (mut seen, mut query) = (Vec::new(), DeadLetterQuery::of(group("billing")).limit(10));
    loop {
        let page = broker.dead_letters.dead_letters(query.clone()).await.expect("a page");
        assert!(page.len() <= 10);
        let Some(last) = page.last() else { break };
        query = query.after(last.id);
        seen.extend(page.into_iter().map(|letter| letter.message.id));
    }
    assert_eq!(seen, (0..25).map(|n| format!("{n:02}")).collect::<Vec<_>>());
}

/// A dead letter that is given back comes again, to its group alone, as if for the first
/// time.
pub async fn a_dead_letter_is_given_back(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let mut shipping = join(broker, "orders", "shipping").await;
    publish(broker, "orders", vec![message(1)]).await;
    assert_eq!(take(&mut shipping, 1).await, ["1"]);
    bury(&mut billing, "no such order").await;
    let letter = letters(broker, "billing").await.remove(0);
    assert!(give_back(broker, "billing", letter.id).await);
    let again = next(&mut billing).await;
    assert_eq!((&again.message, &again.to), (&letter.message, &letter.to));
    again.ack().await.expect("an answer that arrives");
    assert!(ids(broker, "billing").await.is_empty());
    assert!(!give_back(broker, "billing", letter.id).await, "it is not there any more");
    publish(broker, "orders", vec![message(2)]).await;
    assert_eq!(take(&mut shipping, 1).await, ["2"]);
    assert_eq!(take(&mut billing, 1).await, ["2"]);
}

/// A dead letter may be given back as another message.
pub async fn a_dead_letter_is_given_back_edited(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message(1)]).await;
    bury(&mut billing, "no such order").await;
    let letter = letters(broker, "billing").await.remove(0);
    let mut mended = letter.message.clone();
    mended.payload = "\"mended\"".into();
    let given =
        broker.dead_letters.give_back(&group("billing"), letter.id, Some(mended.clone())).await;
    assert!(given.expect("a broker that gives back"));
    let again = next(&mut billing).await;
    assert_eq!(again.message, mended);
    again.ack().await.expect("an answer that arrives");
}

/// A dead letter that is given back and fails again keeps its number.
pub async fn a_dead_letter_that_fails_again_keeps_its_number(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message(1)]).await;
    bury(&mut billing, "once").await;
    let first = letters(broker, "billing").await.remove(0);
    assert!(give_back(broker, "billing", first.id).await);
    bury(&mut billing, "twice").await;
    let second = letters(broker, "billing").await.remove(0);
    assert_eq!((second.id, second.fault.reason.as_str()), (first.id, "twice"));
}

/// A dead letter that is discarded is gone.
pub async fn a_dead_letter_is_discarded(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![of_ada(1), of_ada(2)]).await;
    bury(&mut billing, "one").await;
    bury(&mut billing, "two").await;
    let letter = letters(broker, "billing").await.remove(0);
    let by = group("billing");
    for was_there in [true, false] {
        let discarded = broker.dead_letters.discard(&by, letter.id).await;
        assert_eq!(discarded.expect("a broker that discards"), was_there);
    }
    assert_eq!(ids(broker, "billing").await, ["2"]);
}

/// A group that is forgotten leaves no dead letters.
pub async fn a_forgotten_group_leaves_no_dead_letters(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message(1)]).await;
    bury(&mut billing, "no such order").await;
    drop(billing);
    broker.consumer.forget(&group("billing")).await.expect("a broker that forgets");
    assert!(ids(broker, "billing").await.is_empty());
}

/// Where it is asked for, what follows a dead letter in its key is kept apart behind it, and
/// other keys go on.
pub async fn what_follows_a_dead_letter_is_parked(broker: &Site<Broker>) {
    let mut billing = consume(broker, asks("orders", "billing").parking()).await;
    let bob = |id: &str| message(id).with_key("bob");
    publish(broker, "orders", vec![of_ada(1)]).await;
    bury(&mut billing, "no such order").await;
    publish(broker, "orders", vec![of_ada(2), bob("3"), of_ada(4), bob("5")]).await;
    assert_eq!(take(&mut billing, 2).await, ["3", "5"]);
    publish(broker, "orders", vec![message("end")]).await;
    assert_eq!(take(&mut billing, 1).await, ["end"]);
    let parked = letters(broker, "billing").await;
    let parked = parked
        .iter()
        .map(|letter| (letter.message.id.as_str(), letter.fault.kind, letter.attempts));
    let due =
        [("1", FaultKind::Permanent, 1), ("2", FaultKind::Behind, 0), ("4", FaultKind::Behind, 0)];
    assert_eq!(parked.collect::<Vec<_>>(), due);
}

/// What was parked and is given back in its order is handled in its order, before what
/// comes after it.
pub async fn what_was_parked_keeps_its_order(broker: &Site<Broker>) {
    let mut billing = consume(broker, asks("orders", "billing").parking()).await;
    publish(broker, "orders", (1..=3).map(of_ada).collect()).await;
    bury(&mut billing, "no such order").await;
    publish(broker, "orders", vec![message("end")]).await;
    assert_eq!(take(&mut billing, 1).await, ["end"]);
    let mut given = 0;
    publish(broker, "orders", vec![of_ada(4)]).await;
    loop {
        let letters = letters(broker, "billing").await;
        let Some(first) = letters.first() else { break };
        assert!(give_back(broker, "billing", first.id).await);
        given += 1;
        if given == 2 {
            publish(broker, "orders", vec![of_ada(5)]).await;
        }
    }
    assert_eq!(take(&mut billing, 5).await, ["1", "2", "3", "4", "5"]);
    assert!(ids(broker, "billing").await.is_empty());
}

/// What was parked, given back, and fails again, parks what was given back after it.
pub async fn what_fails_again_parks_what_follows_again(broker: &Site<Broker>) {
    let mut billing = consume(broker, asks("orders", "billing").parking()).await;
    publish(broker, "orders", (1..=3).map(of_ada).collect()).await;
    bury(&mut billing, "once").await;
    publish(broker, "orders", vec![message("end")]).await;
    assert_eq!(take(&mut billing, 1).await, ["end"]);
    for letter in letters(broker, "billing").await {
        assert!(give_back(broker, "billing", letter.id).await);
    }
    assert_eq!(bury(&mut billing, "twice").await, "1");
    publish(broker, "orders", vec![message("end")]).await;
    assert_eq!(take(&mut billing, 1).await, ["end"]);
    assert_eq!(ids(broker, "billing").await, ["1", "2", "3"]);
}

/// Once the last dead letter of a key is gone, the key goes on.
pub async fn a_key_goes_on_when_its_dead_letters_are_gone(broker: &Site<Broker>) {
    let mut billing = consume(broker, asks("orders", "billing").parking()).await;
    publish(broker, "orders", vec![of_ada(1), of_ada(2)]).await;
    bury(&mut billing, "no such order").await;
    publish(broker, "orders", vec![message("end")]).await;
    assert_eq!(take(&mut billing, 1).await, ["end"]);
    for letter in letters(broker, "billing").await {
        let discarded = broker.dead_letters.discard(&group("billing"), letter.id).await;
        assert!(discarded.expect("a broker that discards"));
    }
    publish(broker, "orders", vec![of_ada(3)]).await;
    assert_eq!(take(&mut billing, 1).await, ["3"]);
}

/// Messages without a key are never parked.
pub async fn what_has_no_key_is_never_parked(broker: &Site<Broker>) {
    let mut billing = consume(broker, asks("orders", "billing").parking()).await;
    publish(broker, "orders", (1..=3).map(message).collect()).await;
    let buried = bury(&mut billing, "no such order").await;
    let rest: Vec<_> = ["1", "2", "3"].into_iter().filter(|id| *id != buried).collect();
    assert_eq!(take_any(&mut billing, 2).await, rest);
    assert_eq!(ids(broker, "billing").await, [buried]);
}
