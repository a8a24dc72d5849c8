//! Who gets what is published, while groups come and go in other processes.

use std::collections::BTreeSet;

use es_core::{Address, Begin, Consumer, Group, Publisher, Subscription, Topic, TopicPattern};
use futures_util::future::join;

use super::{
    asks, assert_in_order, broker, consume, group, message, options, publish, server, take,
};

fn listens(by: usize, pattern: &str) -> Subscription {
    let group = Group::new(format!("g{by}")).expect("a group");
    Subscription::of(group).to(TopicPattern::new(pattern).expect("a pattern"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_misses_nothing_that_another_process_publishes_once_it_has_begun() {
    let Some(server) = server() else { return };
    let (here, there) = (broker(options(server.url())).await, broker(options(server.url())).await);
    let to = |topic: &str| Address::from(Topic::new(topic).expect("a topic"));
    for by in 0..20 {
        there.publish(&to("a.b"), vec![message("before")]).await.expect("it is published");
        let mut member = consume(&here, listens(by, "a.*")).await;
        there.publish(&to("a.b"), vec![message(by)]).await.expect("it is published");
        assert_eq!(take(&mut member, 1).await, [by.to_string()]);
        drop(consume(&here, listens(by, "c")).await);
        there.publish(&to("c"), vec![message("c")]).await.expect("it is published");
        assert_eq!(take(&mut member, 1).await, ["c"]);
        let group = listens(by, "c").group;
        there.forget(&group).await.expect("it is forgotten");
        there.publish(&to("c"), vec![message("nobody hears")]).await.expect("it is published");
    }
}

/// Whatever is published meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_begins_with_the_earliest_gets_each_message_once_and_in_order() {
    let Some(server) = server() else { return };
    let (here, there) = (broker(options(server.url())).await, broker(options(server.url())).await);
    let all: Vec<_> = (0..900).map(|n| message(format!("a/{n}")).with_key("a")).collect();
    let publishes = async {
        for part in all.chunks(3) {
            publish(&there, part.to_vec()).await;
        }
    };
    let begins = async {
        let mut member = consume(&here, asks().begin(Begin::Earliest)).await;
        take(&mut member, 900).await
    };
    let ((), seen) = join(publishes, begins).await;
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 900);
    assert_in_order(&seen, 1, 900);
}

#[tokio::test]
async fn a_pattern_that_is_new_to_a_group_brings_nothing_again() {
    let Some(server) = server() else { return };
    let one = broker(options(server.url())).await;
    for topic in ["a.b", "a.b.c"] {
        let to = Topic::new(topic).expect("a topic").into();
        one.publish(&to, vec![message(topic)]).await.expect("it is published");
    }
    let mut member = consume(&one, listens(0, "a.*").begin(Begin::Earliest)).await;
    assert_eq!(take(&mut member, 1).await, ["a.b"]);
    let _adds = consume(&one, listens(0, "a.**").begin(Begin::Earliest)).await;
    assert_eq!(take(&mut member, 1).await, ["a.b.c"]);
}

/// The history holds topics of all sorts.
#[tokio::test]
async fn what_is_earlier_is_chosen_by_the_same_rule() {
    let Some(server) = server() else { return };
    let one = broker(options(server.url())).await;
    let topics = ["a", "a.b", "a.b.c", "a.c", "ab.c", "b"];
    for topic in topics {
        let to = Topic::new(topic).expect("a topic").into();
        one.publish(&to, vec![message(topic)]).await.expect("it is published");
    }
    one.publish(&group().into(), vec![message("to a queue")]).await.expect("it is published");
    for (by, pattern) in
        ["a", "*", "**", "a.*", "a.**", "*.*", "*.b.*", "a.b.c", "*.**"].iter().enumerate()
    {
        let pattern = TopicPattern::new(pattern).expect("a pattern");
        let is_due = |topic: &&&str| pattern.matches(&Topic::new(topic).expect("a topic"));
        let due: Vec<_> = topics.iter().filter(is_due).map(ToString::to_string).collect();
        let mut member = consume(&one, listens(by, pattern.as_str()).begin(Begin::Earliest)).await;
        assert_eq!(take(&mut member, due.len()).await, due, "{pattern}");
        one.publish(&listens(by, "a").group.into(), vec![message("end")]).await.expect("it goes");
        assert_eq!(take(&mut member, 1).await, ["end"], "{pattern}");
    }
}
