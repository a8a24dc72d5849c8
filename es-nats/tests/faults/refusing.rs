//! What is not as it should be.

use async_nats::jetstream::{self, stream::Config};
use es_core::{Consumer, DeadLetterQuery, DeadLetters, FaultKind, Publisher, StoreErrorKind};
use es_nats::NatsOptions;

use crate::site::{Site, asks, group, message, publish, take, topic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_nobody_can_read_does_not_stop_the_group() {
    Site::run(async |site| {
        let broker = site.broker().await;
        let mut member = broker.consume(asks("orders")).await.expect("a member");
        let client = async_nats::connect(&site.url).await.expect("a server");
        let strange = jetstream::new(client);
        publish(&broker, "orders", vec![message("before")]).await;
        for subject in ["m.t.0.orders", "m.t.zero.orders", "m.x"] {
            let subject = format!("{}.{subject}", site.prefix);
            let sent = strange.publish(subject, "strange".into()).await.expect("a stream");
            sent.await.expect("a stream that takes it");
        }
        publish(&broker, "orders", vec![message("after")]).await;
        assert_eq!([take(&mut member).await, take(&mut member).await], ["before", "after"]);
        let letters = broker.dead_letters(DeadLetterQuery::of(group())).await.expect("a list");
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].fault.kind, FaultKind::Undecodable);
        assert_eq!(letters[0].message.payload, "strange");
        assert_eq!(letters[0].to, topic("orders").into());
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_is_not_as_it_has_to_be_is_refused() {
    Site::run(async |site| {
        let client = async_nats::connect(&site.url).await.expect("a server");
        let context = jetstream::new(client);
        let config = Config {
            name: site.prefix.clone(),
            subjects: vec![format!("{}.m.>", site.prefix)],
            max_messages_per_subject: 1,
            ..Config::default()
        };
        context.create_stream(config).await.expect("a stream");
        let refused = site.options().connect().await.expect_err("one message is not all");
        assert_eq!(refused.kind(), StoreErrorKind::Schema, "{refused}");
        assert!(refused.to_string().contains("max_msgs_per_subject"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    Site::run(async |site| {
        let broker = site.broker().await;
        let mut large = message("large");
        large.payload = vec![7; 1_048_576].into();
        let refused = broker.publish(&topic("orders").into(), vec![large]).await;
        assert_eq!(refused.expect_err("a refusal").kind(), StoreErrorKind::Invalid);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_typed_error() {
    let nobody = NatsOptions::new("nats://127.0.0.1:1").connect().await;
    assert_eq!(nobody.expect_err("nobody").kind(), StoreErrorKind::Unavailable);
    let prefix = NatsOptions::new("nats://127.0.0.1:1").prefix("a.b").connect().await;
    assert_eq!(prefix.expect_err("no prefix").kind(), StoreErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_first_decides_how_many_partitions_there_are() {
    Site::run(async |site| {
        let one = site.options().partitions(3).connect().await.expect("a server");
        let two = site.options().partitions(64).connect().await.expect("a server");
        let mut member = one.consume(asks("orders")).await.expect("a member");
        publish(&two, "orders", (0..100).map(message).collect()).await;
        for _ in 0..100 {
            take(&mut member).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_made_anew_is_noticed() {
    Site::run(async |site| {
        let broker = site.broker().await;
        publish(&broker, "orders", vec![message(1), message(2)]).await;
        drop(broker.consume(asks("orders")).await.expect("a member"));
        let client = async_nats::connect(&site.url).await.expect("a server");
        jetstream::new(client).delete_stream(&site.prefix).await.expect("a stream");
        let again = site.broker().await;
        let refused = again.consume(asks("orders")).await.err().expect("a refusal");
        assert_eq!(refused.kind(), StoreErrorKind::Rewound, "{refused}");
        again.forget(&group()).await.expect("a broker that forgets");
        let mut member = again.consume(asks("orders")).await.expect("a member");
        publish(&again, "orders", vec![message(3)]).await;
        assert_eq!(take(&mut member).await, "3");
    })
    .await;
}

/// The window is public, and not only set by its method.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_of_any_width_is_taken() {
    Site::run(async |site| {
        let broker = site.broker().await;
        for window in [0, usize::MAX] {
            let mut asked = asks("orders");
            asked.window = window;
            let mut member = broker.consume(asked).await.expect("a member");
            publish(&broker, "orders", vec![message(window)]).await;
            assert_eq!(take(&mut member).await, window.to_string());
        }
    })
    .await;
}
