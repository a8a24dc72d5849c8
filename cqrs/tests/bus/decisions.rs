//! Decisions over a query instead of one stream.

use cqrs::{Commands, Decision, Event, Evolve, SendError};
use es_core::{
    Batch, ContentType, Criteria, EventStore, EventStoreExt, Name, NameError, NewEvent, Read,
    StreamId, Tag, Tenant, World, memory::MemoryStore,
};
use es_sqlite::SqliteStore;
use serde::{Deserialize, Serialize};

use crate::faulty::Faulty;

#[derive(Debug, Serialize, Deserialize, Event)]
#[event(prefix = "seat")]
pub(crate) enum SeatEvent {
    Taken {
        #[tag]
        course: String,
        #[tag]
        student: String,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Seats {
    taken: usize,
}

impl Evolve for Seats {
    type Event = SeatEvent;

    fn evolve(&mut self, _: &SeatEvent) {
        self.taken += 1;
    }
}

/// Takes one of a number of seats.
#[derive(Debug, Clone)]
pub(crate) struct TakeSeat {
    pub(crate) course: String,
    pub(crate) student: String,
    pub(crate) seats: usize,
}

impl Decision for TakeSeat {
    type State = Seats;
    type Error = &'static str;

    fn criteria(&self) -> Result<Criteria, NameError> {
        Ok(Criteria::tag(course(&self.course)?))
    }

    fn stream(&self, _: &SeatEvent) -> Result<StreamId, NameError> {
        StreamId::new("seat", format!("{}/{}", self.course, self.student))
    }

    fn decide(&self, seats: &Seats) -> Result<Vec<SeatEvent>, &'static str> {
        if seats.taken >= self.seats {
            return Err("the course is full");
        }
        let (course, student) = (self.course.clone(), self.student.clone());
        Ok(vec![SeatEvent::Taken { course, student }])
    }
}

fn course(name: &str) -> Result<Tag, NameError> {
    Tag::new("course", name)
}

pub(crate) async fn seats_taken<S: EventStore>(store: &S, name: &str) -> usize {
    let read = Read::matching(Criteria::tag(course(name).unwrap()));
    store.events(read).await.unwrap().len()
}

fn take(course: &str, student: usize, seats: usize) -> TakeSeat {
    TakeSeat { course: course.into(), student: student.to_string(), seats }
}

#[expect(clippy::disallowed_methods, reason = "a test may start tasks as it likes")]
async fn sixty_four_for_ten_seats(store: impl EventStore + Clone) {
    let buses = [Commands::new(store.clone()), Commands::new(store.clone())];
    let takers: Vec<_> = (0..64)
        .map(|student| {
            let commands = buses[student % 2].clone();
            tokio::spawn(async move { commands.decide(take("rust", student, 10)).await })
        })
        .collect();
    let (mut got, mut refused) = (0, 0);
    for taker in takers {
        match taker.await.unwrap() {
            Ok(sent) => got += usize::from(!sent.repeated),
            Err(SendError::Rejected("the course is full")) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((got, refused), (10, 54));
    assert_eq!(seats_taken(&store, "rust").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixty_four_for_ten_seats_exactly_ten_get_one_in_memory() {
    for _ in 0..20 {
        sixty_four_for_ten_seats(MemoryStore::new()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixty_four_for_ten_seats_exactly_ten_get_one_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("school.db")).await.unwrap();
    sixty_four_for_ten_seats(store).await;
}

#[tokio::test]
async fn a_decision_is_not_disturbed_by_other_tags() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let other = Commands::new(store.inner.clone());
    store.race(async move {
        other.decide(take("latin", 1, 1)).await.unwrap();
    });
    commands.decide(take("rust", 1, 1)).await.unwrap();
    assert_eq!(store.appends(), 1);
}

#[tokio::test]
async fn a_decision_is_not_disturbed_by_other_types_and_other_tenants() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let inner = store.inner.clone();
    store.race(async move {
        let theirs = Commands::new(inner.clone()).of(Tenant::new("acme").unwrap());
        theirs.decide(take("rust", 1, 1)).await.unwrap();
        let id = World::real().event_id();
        let mut seen = NewEvent::raw(id, Name::from_static("seat.seen"), ContentType::JSON, "{}");
        seen.tags.push(course("rust").unwrap());
        let stream = StreamId::new("seat", "seen").unwrap();
        inner.append(Batch::to(stream).event(seen)).await.unwrap();
    });
    commands.decide(take("rust", 1, 1)).await.unwrap();
    assert_eq!(store.appends(), 1);
}

#[tokio::test]
async fn a_decision_that_was_overtaken_is_made_again_on_what_overtook_it() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let other = Commands::new(store.inner.clone());
    store.race(async move {
        other.decide(take("rust", 1, 1)).await.unwrap();
    });
    let answer = commands.decide(take("rust", 2, 1)).await;
    assert!(matches!(answer, Err(SendError::Rejected("the course is full"))), "{answer:?}");
    assert_eq!(seats_taken(&store.inner, "rust").await, 1);
}

#[tokio::test]
async fn a_decision_by_one_tenant_does_not_see_another_ones_events() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let theirs = commands.of(Tenant::new("acme").unwrap());
    commands.decide(take("rust", 1, 1)).await.unwrap();
    theirs.decide(take("rust", 1, 1)).await.unwrap();
    assert!(commands.decide(take("rust", 2, 1)).await.is_err());
}

#[tokio::test]
async fn a_decision_sees_what_it_has_decided_across_more_than_one_page() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let many = es_core::limits::PAGE_EVENTS + 3;
    for student in 0..many {
        commands.decide(take("rust", student, many)).await.unwrap();
    }
    assert!(commands.decide(take("rust", many, many)).await.is_err());
}
