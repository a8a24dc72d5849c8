//! What an endpoint says of itself while its broker is dead.

use es_bus::{Endpoint, EventBus, Health, Running};
use es_core::World;
use tests::brokers::{Rung, bus};

use crate::{LONG, LOOK, server::Server};

async fn until(running: &Running, is_so: impl Fn(&Health) -> bool) -> Health {
    let looking = async {
        loop {
            let health = running.health().await;
            if is_so(&health) {
                return health;
            }
            World::real().sleep(LOOK).await;
        }
    };
    tokio::time::timeout(LONG, looking).await.expect("its health does not change")
}

async fn dies_and_comes_back(server: Option<Server>) {
    let Some(mut server) = server else { return };
    let bus: EventBus = bus(&server.url(), None).await.unwrap();
    let (heard, mut hears) = tokio::sync::mpsc::channel(100);
    let listens = Endpoint::new("listens").unwrap().to("bell.*").unwrap();
    let listens = listens.handle(move |received: es_bus::Received<Rung>| {
        let heard = heard.clone();
        async move { Ok(heard.send(received.event.number).await?) }
    });
    let running = bus.subscribe(listens).await.unwrap();
    assert_eq!(running.health().await, Health::Healthy);
    server.kill();
    let health = until(&running, |health| !health.is_ready()).await;
    assert!(health.to_string().starts_with("unhealthy: the broker is away: "), "{health}");
    server.restart();
    until(&running, |health| *health == Health::Healthy).await;
    bus.publish(&Rung { bell: 0, number: 7 }).await.unwrap();
    let next = tokio::time::timeout(LONG, hears.recv()).await;
    assert_eq!(next.expect("it hears nothing"), Some(7));
    assert!(running.drain().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_unhealthy_while_its_redis_is_dead() {
    dies_and_comes_back(Server::lasting_redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_unhealthy_while_its_nats_is_dead() {
    dies_and_comes_back(Server::nats()).await;
}
