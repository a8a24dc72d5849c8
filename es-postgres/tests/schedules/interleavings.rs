//! All orders of the steps of an append, of another append, and of a reader.
//!
//! The steps of the first append are: it has registered and waits for the row of
//! its stream; it has drawn its position and waits for its place in `events`; it
//! has committed. The second is done in one step. The reader has read the last
//! position; has read the locks; has read the rows. That makes 140 orders.

use es_core::{Batch, EventStore};
use es_postgres::PostgresStore;
use futures_util::future::join_all;
use sqlx::PgConnection;

use crate::{
    log::{Begun, Gate, Log, begin, on_a_log, pid, run, taken_place, taken_row, to},
    ours::Poller,
};

const HORIZON: &str = include_str!("../../src/schema/horizon.sql");

/// In so many orders the reader has passed the position of the first append
/// between its drawing and its commit, if nothing keeps it from that: the second
/// has to be committed above it before the reader looks.
const CAUGHT: usize = 1;

/// Which of the statements is tried.
#[derive(Clone, Copy)]
enum Way {
    /// One event, by itself.
    Alone,
    /// In a group of two.
    Grouped,
    /// In a transaction of the caller.
    InTransaction,
}

/// How the horizon is found.
#[derive(Clone, Copy)]
enum Look {
    /// As it is found.
    Ours,
    /// N4: the locks before the last position.
    LocksFirst,
    /// N1: without the locks.
    WithoutLocks,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    First,
    Second,
    Reader,
}

/// All orders of so many steps of each.
fn orders(left: [(Step, usize); 3]) -> Vec<Vec<Step>> {
    if left.iter().all(|(_, count)| *count == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in (0..3).filter(|at| left[*at].1 > 0) {
        let mut rest = left;
        rest[at].1 -= 1;
        for mut order in orders(rest) {
            order.insert(0, left[at].0);
            all.push(order);
        }
    }
    all
}

/// Tries all orders; those in which the reader skipped something.
async fn skipping(log: &Log, store: &PostgresStore, way: Way, look: Look) -> Vec<Vec<Step>> {
    let all = orders([(Step::First, 3), (Step::Second, 1), (Step::Reader, 3)]);
    assert_eq!(all.len(), 140);
    let mut stage = Stage::new(log, store, way, look).await;
    let mut skipping = Vec::new();
    for (round, order) in all.into_iter().enumerate() {
        if stage.play(&order, round).await {
            skipping.push(order);
        }
    }
    skipping
}

/// The parts, between rounds.
struct Stage<'a> {
    log: &'a Log,
    store: PostgresStore,
    way: Way,
    gates: [Gate; 2],
    row: PgConnection,
    place: PgConnection,
    transaction: Option<PgConnection>,
    reader: Option<Poller>,
}

impl<'a> Stage<'a> {
    async fn new(log: &'a Log, store: &PostgresStore, way: Way, look: Look) -> Self {
        let mut transaction = log.session().await;
        run(&mut transaction, &log.sql(&gated(look))).await;
        // Where `Log::broken` puts its functions.
        run(&mut transaction, &log.sql("SET search_path TO {schema}, pg_catalog")).await;
        Self {
            log,
            store: store.clone(),
            way,
            gates: [Gate::shut(log, 1).await, Gate::shut(log, 2).await],
            row: log.session().await,
            place: log.session().await,
            transaction: Some(transaction),
            reader: Some(Poller::new(&log.store)),
        }
    }

    /// Plays one order; whether something was skipped.
    async fn play(&mut self, order: &[Step], round: usize) -> bool {
        let (mut first, mut reader) = (None, None);
        let mut firsts = 0;
        let mut readers = 0;
        for step in order {
            match step {
                Step::Second => drop(self.log.append(&format!("second-{round}")).await),
                Step::First => {
                    self.first(&mut first, firsts, round).await;
                    firsts += 1;
                }
                Step::Reader => {
                    self.reader(&mut reader, readers).await;
                    readers += 1;
                }
            }
        }
        self.has_skipped().await
    }

    /// Whether the reader misses something, now that all has come to an end.
    async fn has_skipped(&mut self) -> bool {
        self.open_gates().await;
        let mut reader = self.reader.take().expect("a reader that has ended");
        reader.poll().await;
        let skips = reader.positions() != self.log.positions().await;
        if skips {
            // Another round, another reader.
            reader = Poller::new(&self.log.store);
            reader.poll().await;
        }
        self.reader = Some(reader);
        self.close_gates().await;
        skips
    }

    async fn open_gates(&mut self) {
        for gate in &mut self.gates {
            gate.open().await;
        }
    }

    async fn close_gates(&mut self) {
        for gate in &mut self.gates {
            gate.close().await;
        }
    }

    async fn first(&mut self, first: &mut Option<Begun<PgConnection>>, step: usize, round: usize) {
        match step {
            0 => {
                let stream = format!("first-{round}");
                run(&mut self.row, &self.log.sql(&taken_row(&stream))).await;
                run(&mut self.place, &self.log.sql(&taken_place(&stream, 1))).await;
                let transaction = self.transaction.take().expect("a session that is idle");
                *first = Some(begin(append(self.store.clone(), self.way, round, transaction)));
                self.log.until_blocked_by(pid(&mut self.row).await).await;
            }
            1 => {
                run(&mut self.row, "ROLLBACK").await;
                self.log.until_blocked_by(pid(&mut self.place).await).await;
            }
            _ => {
                run(&mut self.place, "ROLLBACK").await;
                self.transaction = Some(first.take().expect("an append under way").end().await);
            }
        }
    }

    async fn reader(&mut self, reading: &mut Option<Begun<Poller>>, step: usize) {
        if step == 0 {
            let mut reader = self.reader.take().expect("a reader that is idle");
            *reading = Some(begin(async move {
                reader.poll().await;
                reader
            }));
        } else {
            self.gates[step - 1].open().await;
        }
        match self.gates.get(step) {
            Some(gate) => gate.until_somebody_waits(self.log).await,
            None => {
                self.reader = Some(reading.take().expect("a reader under way").end().await);
                self.close_gates().await;
            }
        }
    }
}

/// The whole of the first append, with its commit.
async fn append(
    store: PostgresStore,
    way: Way,
    round: usize,
    mut transaction: PgConnection,
) -> PgConnection {
    let batch = |name: &str| -> Batch { to(&format!("{name}-{round}")) };
    match way {
        Way::Alone => drop(store.append(batch("first")).await.expect("an append")),
        Way::Grouped => {
            let both = ["first", "third"].map(|name| store.append(batch(name)));
            join_all(both).await.into_iter().for_each(|one| drop(one.expect("an append")));
        }
        Way::InTransaction => {
            run(&mut transaction, "BEGIN").await;
            store.append_in(&mut transaction, batch("first")).await.expect("an append");
            run(&mut transaction, "COMMIT").await;
        }
    }
    transaction
}

/// Our `horizon`, with gates between its statements.
fn gated(look: Look) -> String {
    let (head, body) = HORIZON.split_once("BEGIN\n").expect("the body of a function");
    let statements: Vec<_> = body.split_inclusive(";\n").collect();
    let [one, other, answer] = statements[..3] else { unreachable!("three were taken") };
    let is_of_locks = |statement: &&str| statement.contains("pg_locks");
    let [bound, locks] = [false, true].map(|locks| {
        let found = [one, other].into_iter().find(|statement| is_of_locks(statement) == locks);
        found.unwrap_or_else(|| panic!("not as it was: {body}"))
    });
    let gate = |number| format!("PERFORM {};\n", Gate::passage(number));
    let (one, other) = match look {
        Look::Ours => (one, other),
        Look::LocksFirst => (locks, bound),
        Look::WithoutLocks => (bound, ""),
    };
    let (first, second) = (gate(1), gate(2));
    let head = head.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION");
    format!("{head}BEGIN\n{one}{first}{other}{second}{answer}END\n$$;")
}

async fn assert_none_skips(name: &str, way: Way) {
    on_a_log(name, async |log| {
        let store = log.another_store().await;
        let skipping = skipping(log, &store, way, Look::Ours).await;
        assert!(skipping.is_empty(), "{} of 140 skip: {skipping:?}", skipping.len());
        store.close().await;
    })
    .await;
}

/// Against a server that does not register floors.
async fn assert_unregistered_skip(name: &str, way: Way) {
    on_a_log(name, async |log| {
        let store = log.broken("pg_advisory_xact_lock_shared(bigint) RETURNS void").await;
        let skipping = skipping(log, &store, way, Look::Ours).await;
        println!("{name}: {} of 140 orders skip", skipping.len());
        assert_eq!(skipping.len(), CAUGHT, "{skipping:?}");
        store.close().await;
    })
    .await;
}

async fn assert_reader_skips(name: &str, look: Look) {
    on_a_log(name, async |log| {
        let store = log.another_store().await;
        let skipping = skipping(log, &store, Way::InTransaction, look).await;
        println!("{name}: {} of 140 orders skip", skipping.len());
        assert_eq!(skipping.len(), CAUGHT, "{skipping:?}");
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn no_order_of_steps_hides_an_append_by_itself() {
    assert_none_skips("alone", Way::Alone).await;
}

#[tokio::test]
async fn no_order_of_steps_hides_appends_in_a_group() {
    assert_none_skips("grouped", Way::Grouped).await;
}

#[tokio::test]
async fn no_order_of_steps_hides_an_append_in_a_transaction() {
    assert_none_skips("in_tx", Way::InTransaction).await;
}

#[tokio::test]
async fn an_append_by_itself_that_has_not_registered_is_hidden() {
    assert_unregistered_skip("alone_bad", Way::Alone).await;
}

#[tokio::test]
async fn appends_in_a_group_that_has_not_registered_are_hidden() {
    assert_unregistered_skip("grouped_bad", Way::Grouped).await;
}

#[tokio::test]
async fn an_append_in_a_transaction_that_has_not_registered_is_hidden() {
    assert_unregistered_skip("in_tx_bad", Way::InTransaction).await;
}

#[tokio::test]
async fn a_reader_that_looks_at_the_locks_first_skips() {
    assert_reader_skips("locks_first", Look::LocksFirst).await;
}

#[tokio::test]
async fn a_reader_that_does_not_look_at_the_locks_skips() {
    assert_reader_skips("no_locks", Look::WithoutLocks).await;
}
