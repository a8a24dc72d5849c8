//! A connection to the server beside the adapter.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};

/// How long a request may take, as the default of half a second is too short for a busy
/// machine.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

pub(crate) async fn connect(url: String) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(PATIENCE)
        .set_response_timeout(PATIENCE);
    let client = Client::open(url).expect("an address");
    client.get_multiplexed_async_connection_with_config(&config).await.expect("a server")
}
