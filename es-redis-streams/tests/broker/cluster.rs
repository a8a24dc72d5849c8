//! A cluster, of which one node has the keys.

use std::time::Duration;

use es_core::{Consumer, DeadLetters, World};
use es_testkit::servers::PrivateRedis;

use super::{
    HOUR, SOON, asks, broker, bury, consume, group, letters, message, of_ada, options, private,
    publish, raw, said, take,
};

/// Of two nodes one has all slots, and the other is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_says_who_has_the_messages() {
    let Some(other) = private(PrivateRedis::start_node()) else { return };
    let Some(owner) = private(PrivateRedis::start_node()) else { return };
    let mut nodes = [raw(&other).await, raw(&owner).await];
    said::<String>(&mut nodes[1], &[b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383"]).await;
    let about: String = said(&mut nodes[1], &[b"CLUSTER", b"NODES"]).await;
    let bus = about.split(['@', ' ', ',']).nth(2).expect("the port of its bus").as_bytes();
    let port = owner.port().to_string();
    let meet = [b"CLUSTER", &b"MEET"[..], b"127.0.0.1", port.as_bytes(), bus];
    said::<String>(&mut nodes[0], &meet).await;
    let agree = async {
        for node in &mut nodes {
            let state = [&b"CLUSTER"[..], b"INFO"];
            while !said::<String>(node, &state).await.contains("cluster_state:ok") {
                World::real().sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::time::timeout(2 * SOON, agree).await.expect("they agree");

    let ours = broker(options(other.url()).lease(HOUR)).await;
    let theirs = broker(options(owner.url()).lease(HOUR)).await;
    let mut member = consume(&ours, asks().parking()).await;
    for n in 0..3 {
        // Heard on a connection of its own, which has to find the node too.
        publish(&theirs, vec![of_ada(n)]).await;
        assert_eq!(take(&mut member, 1).await, [n.to_string()]);
    }
    publish(&ours, vec![of_ada("dead"), of_ada("behind"), message("end")]).await;
    bury(&mut member).await.expect("there is room");
    assert_eq!(take(&mut member, 1).await, ["end"]);
    for letter in letters(&ours).await.expect("letters") {
        assert!(ours.give_back(&group(), letter.id, None).await.expect("it is given back"));
    }
    assert_eq!(take(&mut member, 2).await, ["dead", "behind"]);
    ours.forget(&group()).await.expect("it is forgotten");
}
