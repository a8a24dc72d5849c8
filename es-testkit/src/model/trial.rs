use es_core::{EventStore, EventStoreExt, Read, RecordedEvent, Scope};
use proptest::{
    prelude::Strategy,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, RngSeed, TestRunner},
};

use super::{Answer, Command, Reference, commands};
use crate::contract::{Need, Site, UnderTest};

/// Most commands of one case.
const COMMANDS: usize = 40;
/// Cases unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 64;
/// Most steps towards a smaller counterexample.
const SHRINKING: u32 = 400;

/// Tries random commands on the store and on the model. When they disagree, it
/// looks for a shorter way to the same.
pub(crate) async fn agrees_with_the_model(log: &Site<dyn EventStore>) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let seed = RngSeed::Fixed(0x5eed);
    let config =
        Config { rng_algorithm: RngAlgorithm::ChaCha, rng_seed: seed, ..Config::default() };
    let mut runner = TestRunner::new(config);
    for _ in 0..cases.unwrap_or(CASES) {
        let mut tree = commands(COMMANDS).new_tree(&mut runner).expect("commands");
        if let Err(how) = try_out(log, &tree.current()).await {
            let (commands, how) = shrink(log, &mut tree, how).await;
            panic!("{how}\nafter {commands:#?}");
        }
    }
}

async fn shrink(
    log: &Site<dyn EventStore>,
    tree: &mut impl ValueTree<Value = Vec<Command>>,
    how: String,
) -> (Vec<Command>, String) {
    let mut smallest = (tree.current(), how);
    let mut smaller = tree.simplify();
    for _ in 0..SHRINKING {
        if !smaller {
            break;
        }
        smaller = match try_out(log, &tree.current()).await {
            Err(how) => {
                smallest = (tree.current(), how);
                tree.simplify()
            }
            Ok(()) => tree.complicate(),
        };
    }
    smallest
}

/// Tries the commands on a fresh store.
async fn try_out(log: &Site<dyn EventStore>, commands: &[Command]) -> Result<(), String> {
    let store = log.another().await;
    let outcome = run(&store, commands).await;
    store.leave_alone().await;
    outcome
}

async fn run(first: &Site<dyn EventStore>, commands: &[Command]) -> Result<(), String> {
    let mut reopened = None;
    let mut model = Reference::default();
    for (at, command) in commands.iter().enumerate() {
        let store: &Site<dyn EventStore> = reopened.as_ref().unwrap_or(first);
        match command {
            Command::Reopen if store.can(Need::Reopens) => reopened = Some(store.reopen().await),
            Command::Reopen => {}
            command => step(store, &mut model, command)
                .await
                .map_err(|how| format!("command {at}, {command:?}: {how}"))?,
        }
    }
    let store = reopened.as_ref().unwrap_or(first);
    step(store, &mut model, &Command::Read(Read::all())).await
}

async fn step(
    store: &Site<dyn EventStore>,
    model: &mut Reference,
    command: &Command,
) -> Result<(), String> {
    match command {
        Command::Append(batch) if !can_append(store, batch) => Ok(()),
        Command::Append(batch) => {
            let found = Answer::of(&store.append(batch.clone()).await);
            let due = model.append(batch);
            if found == due { Ok(()) } else { Err(format!("{found:?}, due is {due:?}")) }
        }
        Command::Read(read) if !can_read(store, read) => Ok(()),
        Command::Read(read) => {
            let found = store.events(read.clone()).await.map_err(|error| error.to_string())?;
            same(&found, &model.read(read))
        }
        Command::Reopen => Ok(()),
    }
}

fn can_append(store: &Site<dyn EventStore>, batch: &es_core::Batch) -> bool {
    let mut streams = batch.writes.iter().map(|write| &write.stream);
    let first = streams.next();
    store.can(Need::ManyStreams) || streams.all(|stream| Some(stream) == first)
}

fn can_read(store: &Site<dyn EventStore>, read: &Read) -> bool {
    store.can(Need::Criteria) || !matches!(read.scope, Scope::Matching(_))
}

/// Whether both hold the same events; positions and times are the store's own.
fn same(found: &[RecordedEvent], due: &[RecordedEvent]) -> Result<(), String> {
    let told = |events: &[RecordedEvent]| -> Vec<RecordedEvent> {
        let mut events = events.to_vec();
        for event in &mut events {
            (event.position, event.recorded_at) = Default::default();
        }
        events
    };
    let (found, due) = (told(found), told(due));
    if found == due {
        return Ok(());
    }
    let ids = |events: &[RecordedEvent]| -> Vec<_> { events.iter().map(|one| one.id).collect() };
    Err(format!("found {:?}, due is {:?}", ids(&found), ids(&due)))
}
