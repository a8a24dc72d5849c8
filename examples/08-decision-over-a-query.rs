//! New: a rule that spans streams. A decision folds whatever bears its tags,
//! and is appended unless something new has come to bear them.

use gesta::{
    Commands, Criteria, Decision, Event, Evolve, NameError, SendError, StreamId, Tag,
    memory::MemoryStore,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "seat")]
enum SeatEvent {
    Taken {
        #[tag]
        course: String,
        #[tag]
        student: String,
    },
}

/// Who sits where, as far as the decision has asked.
#[derive(Default)]
struct Seats {
    taken: Vec<(String, String)>,
}

impl Evolve for Seats {
    type Event = SeatEvent;
    fn evolve(&mut self, SeatEvent::Taken { course, student }: &SeatEvent) {
        self.taken.push((course.clone(), student.clone()));
    }
}

struct TakeSeat {
    course: &'static str,
    student: &'static str,
}

impl Decision for TakeSeat {
    type State = Seats;
    type Error = &'static str;

    /// All seats of the course, and all seats of the student.
    fn criteria(&self) -> Result<Criteria, NameError> {
        let course = Criteria::tag(Tag::new("course", self.course)?);
        Ok(course.or(Criteria::tag(Tag::new("student", self.student)?)))
    }

    fn stream(&self, _: &SeatEvent) -> Result<StreamId, NameError> {
        StreamId::new("seat", format!("{}/{}", self.course, self.student))
    }

    fn decide(&self, seats: &Seats) -> Result<Vec<SeatEvent>, &'static str> {
        let in_course = seats.taken.iter().filter(|(course, _)| course == self.course);
        if in_course.count() == 2 {
            return Err("the course is full");
        }
        let of_student = seats.taken.iter().filter(|(_, student)| student == self.student);
        if of_student.count() == 2 {
            return Err("the student has two courses already");
        }
        let (course, student) = (self.course.to_owned(), self.student.to_owned());
        Ok(vec![SeatEvent::Taken { course, student }])
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let commands = Commands::new(MemoryStore::new());
    let take = |course, student| commands.decide(TakeSeat { course, student });

    // Three want the last two seats at once: two get them.
    let (ada, bob, cyd) =
        tokio::join!(take("rust", "ada"), take("rust", "bob"), take("rust", "cyd"));
    let outcomes = [("ada", ada), ("bob", bob), ("cyd", cyd)];
    for (student, outcome) in &outcomes {
        match outcome {
            Ok(sent) => println!("{student} sits, at position {}", sent.position),
            Err(refused) => println!("{student} does not: {refused}"),
        }
    }
    assert_eq!(outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count(), 2);

    take("go", "dan").await?;
    take("zig", "dan").await?;
    let third = take("c", "dan").await;
    assert!(matches!(third, Err(SendError::Rejected("the student has two courses already"))));
    Ok(())
}
