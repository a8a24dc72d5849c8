//! Many writers in two processes, transactions that stay open for a while, a
//! stranger, and followers of all kinds, all at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use es_core::{
    AppendError, Appended, Batch, Criteria, EventStore, EventStoreExt, Expected, Name, Position,
    Read, RecordedEvent, StoreError, StoreErrorKind, Version, World,
};
use es_postgres::PostgresStore;
use es_testkit::{SeededRandom, fake, history::History};
use sqlx::PgConnection;

use crate::{
    log::{Begun, Log, begin, on_a_log, run},
    naive::Naive,
    ours::{Follower, Poller, positions},
};

const APPENDS: usize = 3_000;
const WRITERS: usize = 32;
/// One writer of so many holds its appends in transactions.
const HOLDERS: usize = 4;
const LONGEST_HOLD_MS: usize = 20;
const CATEGORIES: [&str; 3] = ["account", "order", "guest"];
const TYPES: [&str; 4] = ["thing.begun", "thing.moved", "thing.ended", "thing.noted"];
const STREAMS: usize = 30;

struct Writer {
    random: SeededRandom,
    store: PostgresStore,
    history: Arc<History>,
    tally: Tally,
}

#[derive(Default, Debug)]
struct Tally {
    appended: usize,
    held: usize,
    rolled_back: usize,
    conflicts: usize,
    overtaken: usize,
}

impl Writer {
    fn batch(&self) -> Batch {
        let stream = |_| {
            let category = self.random.one_of(&CATEGORIES);
            fake::stream(&format!("{category}-{}", self.random.below(STREAMS)))
        };
        let event = |_| {
            let kind: &&str = self.random.one_of(&TYPES);
            let event = fake::event(kind);
            match self.random.below(4) {
                0 => event.tag("seat", &self.random.below(8).to_string()).build(),
                _ => event.build(),
            }
        };
        let mut batch = Batch::to(stream(0)).events((0..=self.random.below(3)).map(event));
        match self.random.below(20) {
            0 => batch = batch.unless(seat(self.random.below(8)), Position::START),
            1 => batch = batch.expect(Expected::NoStream),
            2 => batch = batch.expect(Expected::Exact(Version::new(5))),
            3 => batch = batch.write(es_core::Write::new(stream(1)).events([event(1)])),
            _ => {}
        }
        if self.random.below(2) == 0 { batch.append_id(fake::append_id()) } else { batch }
    }

    async fn append(&mut self) {
        let batch = self.batch();
        let ticket = self.history.invoke(&batch);
        let outcome = self.store.append(batch).await;
        self.history.ended(ticket, &outcome);
        self.count(&outcome);
    }

    /// In a transaction that stays open for a while.
    async fn hold(&mut self, session: &mut PgConnection) {
        let batch = self.batch();
        run(session, "BEGIN").await;
        let ticket = self.history.invoke(&batch);
        let mut outcome = self.store.append_in(session, batch).await;
        let millis = self.random.below(LONGEST_HOLD_MS + 1);
        World::real().sleep(Duration::from_millis(millis as u64)).await;
        if self.random.below(10) == 0 {
            run(session, "ROLLBACK").await;
            self.tally.rolled_back += 1;
            outcome = Err(StoreError::new(StoreErrorKind::Other, "rolled back").into());
        } else {
            run(session, "COMMIT").await;
            self.tally.held += 1;
            self.count(&outcome);
        }
        self.history.ended(ticket, &outcome);
    }

    fn count(&mut self, outcome: &Result<Appended, AppendError>) {
        match outcome {
            Ok(_) => self.tally.appended += 1,
            Err(AppendError::Conflict(_)) => self.tally.conflicts += 1,
            Err(AppendError::Overtaken { .. }) => self.tally.overtaken += 1,
            Err(error) => panic!("{error}"),
        }
    }

    async fn work(mut self, appends: usize, mut session: Option<PgConnection>) -> Tally {
        for _ in 0..appends {
            match &mut session {
                Some(session) => self.hold(session).await,
                None => self.append().await,
            }
        }
        self.tally
    }
}

fn seat(number: usize) -> Criteria {
    Criteria::tag(fake::tag("seat", &number.to_string()))
}

async fn write(log: &Log, stores: &[PostgresStore; 2], history: &Arc<History>, seed: u64) -> Tally {
    let appends = std::env::var("GESTA_SOAK_APPENDS").ok();
    let appends = appends.map_or(APPENDS, |text| text.parse().expect("a number of appends"));
    let mut writers = Vec::new();
    for n in 0..WRITERS {
        let writer = Writer {
            random: SeededRandom::new(seed.wrapping_add(n as u64)),
            store: stores[n % 2].clone(),
            history: Arc::clone(history),
            tally: Tally::default(),
        };
        let session = if n / 2 % HOLDERS == 0 { Some(log.session().await) } else { None };
        writers.push(begin(writer.work(appends.div_ceil(WRITERS), session)));
    }
    let mut all = Tally::default();
    for writer in writers {
        let tally = writer.at_last().await;
        all.appended += tally.appended;
        all.held += tally.held;
        all.rolled_back += tally.rolled_back;
        all.conflicts += tally.conflicts;
        all.overtaken += tally.overtaken;
    }
    all
}

fn reads() -> [(&'static str, Read); 5] {
    let name = |text| Name::new(text).expect("a type");
    let all = || Read::all().every_tenant();
    [
        ("all", all()),
        ("one category", Read::category(CATEGORIES[0]).expect("a category")),
        ("one type", all().types([name(TYPES[1])])),
        ("one tag", all().tag(fake::tag("seat", "3"))),
        ("a query", Read::matching(seat(1).or(Criteria::types([name(TYPES[2])])))),
    ]
}

/// Polls until it is told that no more will be written, and once more.
fn poll(store: &PostgresStore, done: &Arc<AtomicBool>) -> Begun<Poller> {
    let (mut poller, done) = (Poller::new(store), Arc::clone(done));
    begin(async move {
        loop {
            let is_last = done.load(Ordering::Acquire);
            poller.poll().await;
            if is_last {
                return poller;
            }
        }
    })
}

fn poll_naively(mut naive: Naive, done: &Arc<AtomicBool>) -> Begun<Naive> {
    let done = Arc::clone(done);
    begin(async move {
        loop {
            let is_last = done.load(Ordering::Acquire);
            naive.poll().await;
            if is_last {
                return naive;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_at_once_followers_see_the_log_in_order() {
    let seed = std::env::var("GESTA_SEED").ok();
    let seed =
        seed.map_or_else(|| World::real().random_u64(), |text| text.parse().expect("a seed"));
    println!("GESTA_SEED={seed}");
    on_a_log("soak", async |log| soak(log, seed).await).await;
}

async fn soak(log: &Log, seed: u64) {
    let stores = [log.store.clone(), log.another_store().await];
    let (history, done) = (Arc::new(History::new()), Arc::new(AtomicBool::new(false)));
    let mut stranger = log.session().await;
    let strange = "BEGIN; CREATE TABLE {schema}.strange (n int); \
         INSERT INTO {schema}.strange VALUES (1)";
    run(&mut stranger, &log.sql(strange)).await;
    let mut followers = Vec::new();
    for store in &stores {
        for (name, read) in reads() {
            followers.push((name, read.clone(), Follower::new(store, read)));
        }
    }
    let pollers = [poll(&stores[0], &done), poll(&stores[1], &done)];
    let naive = poll_naively(Naive::after_the_last(log).await, &done);

    let tally = write(log, &stores, &history, seed).await;
    done.store(true, Ordering::Release);

    let committed = log.positions().await;
    let all = stores[0].events(Read::all().every_tenant()).await.expect("the log");
    assert_eq!(positions(&all), committed);
    for (name, read, follower) in &followers {
        follower.until(all.last().expect("events").position).await;
        let due: Vec<_> = all.iter().filter(|event| read.accepts(event)).cloned().collect();
        let offered = follower.offered();
        assert_same(name, &offered, &due);
        println!("{name}: {} events, each once and in order", offered.len());
    }
    let whole = followers.iter().filter(|(name, ..)| *name == "all").enumerate();
    for (n, (.., follower)) in whole {
        let name = format!("follower {n}");
        history.restarted(&name, Position::START);
        follower.offered().iter().for_each(|event| history.offered(&name, event));
    }
    assert_eq!(history.check(&all), []);
    for poller in pollers {
        poller.end().await.assert_whole(log).await;
    }
    let skipped = naive.end().await.skipped(log).await.len();
    println!("{} events, {tally:?}; a naive reader skipped {skipped}", all.len());
    assert!(skipped > 0, "nothing was tried that a naive reader would miss");
    run(&mut stranger, "ROLLBACK").await;
    stores[1].close().await;
}

fn assert_same(name: &str, offered: &[RecordedEvent], due: &[RecordedEvent]) {
    let (found, wanted) = (positions(offered), positions(due));
    let lost: Vec<_> = wanted.iter().filter(|one| found.binary_search(one).is_err()).collect();
    assert_eq!(found, wanted, "{name} lost {lost:?}");
    assert!(offered.iter().zip(due).all(|(one, other)| one.id == other.id), "{name}");
}
