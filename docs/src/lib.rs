//! The book: its chapters stand beside this folder, and each piece of Rust in
//! them is compiled and run as a test of this crate.
//!
//! `cargo test --doc -p book` runs them all.

macro_rules! book {
    ($($chapter:ident $file:literal;)*) => {$(
        #[doc = include_str!(concat!("../", $file))]
        pub mod $chapter {}
    )*};
}

book! {
    readme "../README.md";
    getting_started "getting-started.md";
    modelling "modelling.md";
    reading "reading.md";
    read_models "read-models.md";
    writing_a_sink "writing-a-sink.md";
    queries "queries.md";
    event_bus "event-bus.md";
    sagas "sagas.md";
    evolving_events "evolving-events.md";
    snapshots "snapshots.md";
    retention "retention.md";
    idempotency_and_conflicts "idempotency-and-conflicts.md";
    stores_and_durability "stores-and-durability.md";
    postgres "postgres.md";
    operating "operating.md";
    moving_data "moving-data.md";
    testing "testing.md";
    troubleshooting "troubleshooting.md";
    comparison_with_others "comparison-with-others.md";
}
