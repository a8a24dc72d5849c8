//! New: a long stream is loaded from a snapshot and its tail.

use std::sync::Arc;

use examples::{Account, Deposit};
use gesta::{
    AggregateStoreExt, Commands, Settings, SnapshotPolicy, Snapshotting, World,
    memory::{MemorySnapshots, MemoryStore},
    stream_of,
};

const DEPOSITS: u64 = 1_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let snapshots = Arc::new(MemorySnapshots::new());
    // A load that replays 100 events or more leaves a snapshot behind.
    let snapshotting = Snapshotting::new(snapshots, SnapshotPolicy::every(100), World::real());
    let settings = Settings::<Account>::new().snapshots(snapshotting.clone());
    let commands = Commands::builder(store.clone()).aggregate(settings)?.build();

    for _ in 0..DEPOSITS {
        commands.send(Deposit::new("ada", 1)).await?;
    }

    // Snapshots are written behind the command's back.
    while snapshotting.counts().written == 0 {
        tokio::task::yield_now().await;
    }
    let counts = snapshotting.counts();
    println!("{} snapshots written, {} loads began with one", counts.written, counts.used);

    // A snapshot is a cache: with it and without it the state is the same.
    let ada = String::from("ada");
    let short = snapshotting.load::<Account, _>(&store, &stream_of::<Account>(&ada)?).await?;
    let whole = store.load::<Account>(&ada).await?;
    assert_eq!(short.state, whole.state);
    assert_eq!((short.version, whole.version.get()), (whole.version, DEPOSITS));
    assert!(snapshotting.counts().used > counts.used);
    assert_eq!(snapshotting.counts().passed_over, 0);
    println!("ada has {} either way", short.state.balance);
    Ok(())
}
