//! No promise is left out of its list.

use std::{collections::BTreeSet, fs, path::Path};

use es_core::memory::MemoryViews;
use es_testkit::contract;

/// Every public async function below the folder, as `module::name`.
fn written(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/contract").join(folder);
    let files = fs::read_dir(folder).expect("a folder of promises");
    let files = files.map(|file| file.expect("a file of promises").path());
    let mut found = BTreeSet::new();
    for file in files {
        let module = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("a file of promises");
        let names = text.lines().filter_map(|line| line.strip_prefix("pub async fn "));
        let name = |line: &str| line.split(['(', '<']).next().unwrap_or_default().to_owned();
        found.extend(names.map(|line| format!("{module}::{}", name(line))));
    }
    found
}

macro_rules! listed {
    ($($name:ident: $folder:literal, $promises:expr;)*) => {
        $(#[test]
        fn $name() {
            let listed: BTreeSet<_> = $promises.iter().map(|one| format!("{one:?}")).collect();
            assert_eq!(written($folder), listed);
        })*
    };
}

listed! {
    every_promise_of_an_event_store_is_listed: "event_store", contract::event_store_promises();
    every_promise_of_retention_is_listed: "retention", contract::retention_promises();
    every_promise_of_moving_is_listed: "moving", contract::moving_promises();
    every_promise_of_checkpoints_is_listed: "checkpoints", contract::checkpoint_promises();
    every_promise_of_snapshots_is_listed: "snapshots", contract::snapshot_promises();
    every_promise_of_a_shared_cache_is_listed: "shared_cache", contract::shared_cache_promises();
    every_promise_of_timers_is_listed: "timers", contract::timer_promises();
    every_promise_of_views_is_listed: "views", contract::view_promises::<MemoryViews>();
    every_promise_of_inline_models_is_listed: "inline", contract::inline_promises::<MemoryViews>();
    every_promise_of_a_broker_is_listed: "broker", contract::broker_promises();
}

#[test]
fn the_names_of_promises_are_sentences() {
    for promise in contract::event_store_promises() {
        assert!(promise.sentence().split(' ').count() >= 3, "{promise:?}");
    }
}
