//! What cannot be, and is said.

use es_core::{Begin, Consumer, Publisher, StoreErrorKind};
use es_rabbitmq::RabbitOptions;

use crate::site::{Site, asks, message, next, publish, take, topic};

#[tokio::test]
async fn an_address_or_a_prefix_that_is_none_is_refused() {
    for options in [
        RabbitOptions::new("pigeon://roof"),
        RabbitOptions::new("amqp://127.0.0.1:5672/%2f").prefix("a.b"),
        RabbitOptions::new("amqp://127.0.0.1:5672/%2f").prefix("p".repeat(45)),
    ] {
        let refused = options.connect().await.expect_err("it is none");
        assert_eq!(refused.kind(), StoreErrorKind::Invalid, "{refused}");
    }
}

#[tokio::test]
async fn where_nobody_listens_is_no_server() {
    let refused = RabbitOptions::new("amqp://127.0.0.1:1/%2f").connect().await;
    assert_eq!(refused.expect_err("nobody listens").kind(), StoreErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_disagree_about_the_partitions_are_refused() {
    Site::run(async |site| {
        let _agrees = site.broker().await;
        let refused = site.options().partitions(7).connect().await.expect_err("it disagrees");
        assert_eq!(refused.kind(), StoreErrorKind::Schema, "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_cannot_begin_with_what_no_queue_has() {
    Site::run(async |site| {
        let asks = asks("orders").begin(Begin::Earliest);
        let refused = site.broker().await.consume(asks).await.err().expect("a refusal");
        assert_eq!(refused.kind(), StoreErrorKind::Unsupported, "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_that_is_too_long_for_the_server_is_refused() {
    Site::run(async |site| {
        let long = asks(&format!("{}.**", "o".repeat(251)));
        let refused = site.broker().await.consume(long).await.err().expect("a refusal");
        assert_eq!(refused.kind(), StoreErrorKind::Invalid, "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_fits_into_no_frame_is_refused_and_harms_nobody() {
    Site::run(async |site| {
        let broker = site.broker().await;
        let mut member = broker.consume(asks("orders")).await.expect("a member");
        let mut large = message("large");
        large.metadata = large.metadata.with("story", "x".repeat(130_000));
        let refused = broker.publish(&topic("orders").into(), vec![large]).await;
        assert_eq!(refused.expect_err("it does not fit").kind(), StoreErrorKind::Invalid);
        publish(&broker, "orders", vec![message("small")]).await;
        assert_eq!(take(&mut member).await, "small");
    })
    .await;
}

/// Others than these programs may publish to the exchange.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_read_is_a_dead_letter() {
    use es_core::{DeadLetterQuery, DeadLetters, FaultKind};
    Site::run(async |site| {
        let broker = site.broker().await;
        let mut member = broker.consume(asks("orders")).await.expect("a member");
        let server = lapin::Connection::connect(&site.url, Default::default()).await;
        let channel = server.expect("a server").create_channel().await.expect("a channel");
        channel.confirm_select(Default::default()).await.expect("a server that confirms");
        let (to, key) = (site.prefix.as_str().into(), "1.orders".into());
        let sent = channel.basic_publish(to, key, Default::default(), b"?", Default::default());
        sent.await.expect("it is sent").await.expect("it is there");
        publish(&broker, "orders", (0..20).map(message).collect()).await;
        for _ in 0..20 {
            next(&mut member).await.ack().await.expect("an answer that arrives");
        }
        let letters = broker.dead_letters(DeadLetterQuery::of(crate::site::group())).await;
        let letters = letters.expect("a list");
        assert_eq!(letters[0].fault.kind, FaultKind::Undecodable);
        assert_eq!(&*letters[0].message.payload, b"?");
    })
    .await;
}

/// Writes into the log of dead letters without their library.
async fn write(site: &Site, headers: lapin::types::FieldTable) {
    let server = lapin::Connection::connect(&site.url, Default::default()).await;
    let channel = server.expect("a server").create_channel().await.expect("a channel");
    channel.confirm_select(Default::default()).await.expect("a server that confirms");
    let log = format!("{}.l.billing", site.prefix).into();
    let properties = lapin::BasicProperties::default().with_headers(headers);
    let sent = channel.basic_publish("".into(), log, Default::default(), b"?", properties);
    sent.await.expect("it is sent").await.expect("it is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_writes_into_the_dead_letters_is_left_out() {
    use es_core::{DeadLetterQuery, DeadLetters, Fault, FaultKind};
    Site::run(async |site| {
        let broker = site.broker().await;
        let mut member = broker.consume(asks("orders")).await.expect("a member");
        write(site, Default::default()).await;
        publish(&broker, "orders", vec![message("1")]).await;
        let fault = Fault::new(FaultKind::Permanent, "no such order");
        next(&mut member).await.dead_letter(fault).await.expect("an answer that arrives");
        let letters = broker.dead_letters(DeadLetterQuery::of(crate::site::group())).await;
        assert_eq!(letters.expect("a list").len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_this_program_does_not_know_closes_the_group() {
    use futures_util::TryStreamExt;
    Site::run(async |site| {
        let broker = site.broker().await;
        let mut member = broker.consume(asks("orders")).await.expect("a member");
        let mut headers = lapin::types::FieldTable::default();
        let newer = lapin::types::AMQPValue::LongString("\"moved\"".into());
        headers.insert("gesta-record".into(), newer);
        write(site, headers).await;
        let told = tokio::time::timeout(crate::site::SOON, member.try_next()).await;
        let told = told.expect("in time").expect_err("it cannot be read");
        assert_eq!(told.kind(), StoreErrorKind::Corrupt, "{told}");
    })
    .await;
}
