use std::time::Duration;

use es_core::{Batch, EventStore, EventStoreExt, Read};
use es_postgres::PostgresStore;
use es_testkit::{
    Swept, fake,
    servers::{PrivatePostgres, Proxy},
    sweep,
};

use crate::private::{Watch, server};

/// What a store may have open: eight that read, one that writes, one that wakes
/// followers.
pub(crate) const SESSIONS: i64 = 10;

/// A store on a server where nobody else is.
pub(crate) struct Scene {
    pub(crate) store: PostgresStore,
    pub(crate) watch: Watch,
    pub(crate) url: String,
    _proxy: Proxy,
    pub(crate) server: PrivatePostgres,
}

/// A server, and the way to it on which no answer is there at once, so that
/// whoever asks has to wait.
pub(crate) fn distant() -> Option<(PrivatePostgres, Proxy, String)> {
    let server = server(&[("fsync", "off")])?;
    let proxy = Proxy::postgres(([127, 0, 0, 1], server.port()).into()).expect("a port");
    proxy.delay(Duration::from_micros(500));
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    Some((server, proxy, url))
}

impl Scene {
    pub(crate) async fn open() -> Option<Self> {
        let (server, _proxy, url) = distant()?;
        let watch = Watch::over(&server).await;
        let store = PostgresStore::open(&url).await.expect("a store that opens");
        Some(Self { store, watch, url, _proxy, server })
    }

    /// Drops the future everywhere; after each time the store is as it should
    /// be, and says `check` so too.
    pub(crate) async fn sweep<F: Future>(
        &mut self,
        name: &str,
        make: impl FnMut(usize) -> F,
        mut check: impl AsyncFnMut(usize),
    ) -> F::Output {
        let Self { store, watch, .. } = self;
        let swept = sweep(make, async |run| {
            watch.settled(SESSIONS).await;
            check(run).await;
            assert_serves(store).await;
        });
        told(name, swept.await)
    }
}

/// Appends, and reads it.
pub(crate) async fn assert_serves(store: &PostgresStore) {
    let (stream, event) = (fake::stream("kept-1"), fake::event("thing.kept").build());
    let id = event.id;
    store.append(Batch::to(stream.clone()).event(event)).await.expect("a store that appends");
    let last = store.events(Read::stream(&stream).backwards().limit(1)).await;
    assert_eq!(last.expect("a store that reads")[0].id, id);
}

pub(crate) fn told<T>(name: &str, swept: Swept<T>) -> T {
    println!("{name}: waits {} times, dropped {} times", swept.awaits, swept.drops);
    swept.output
}
