//! Reads by the page, a few pages ahead of whoever consumes them.
//!
//! A request travels as a [`Course`] between its consumer and the reading
//! threads. While pages are wanted a job of a thread has it, and reads one after
//! another; else it is parked.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use es_core::{Page, Read, StoreError};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{
    append::head,
    error::closed,
    page::{Draft, window_of_append},
    query::Query,
    readers::{Reader, Readers},
    window::Window,
};

/// Pages that are read before they are asked for.
const AHEAD: usize = 3;
/// Pages after which a job lets others have the thread.
const TURN: usize = 16;

/// A request, on the side of its consumer.
pub(crate) struct Reading {
    readers: Readers,
    desk: Arc<Desk>,
    pages: mpsc::Receiver<Handed>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Begun,
    Over,
}

type Handed = Result<(Draft, Left), StoreError>;

/// Whether anything comes after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Something,
    Nothing,
}

/// Where consumer and job meet.
#[derive(Default)]
struct Desk {
    /// Pages that are asked for and not read yet. Who raises it from zero sends
    /// the job, which ends when it has lowered it to zero.
    wanted: AtomicUsize,
    parked: Mutex<Option<Course>>,
}

/// How far a request has come. If it is lost, its consumer's queue ends.
struct Course {
    stage: Stage,
    left: u64,
    pages: mpsc::Sender<Handed>,
}

enum Stage {
    Asked(Read),
    Under(Query, Window),
}

impl Reading {
    pub(crate) fn new(readers: Readers, read: Read) -> Self {
        let (sender, pages) = mpsc::channel(AHEAD);
        let left = read.limit.unwrap_or(u64::MAX);
        let desk = Desk::default();
        *desk.parked.lock() = Some(Course { stage: Stage::Asked(read), left, pages: sender });
        Self { readers, desk: Arc::new(desk), pages, state: State::New }
    }

    /// The next page; `None` at the end, and after an error.
    pub(crate) async fn page(&mut self) -> Option<Result<Page, StoreError>> {
        let more = match mem::replace(&mut self.state, State::Begun) {
            State::New => AHEAD,
            State::Begun => 1,
            State::Over => {
                self.state = State::Over;
                return None;
            }
        };
        let handed = match self.ask(more).await {
            Ok(()) => self.pages.recv().await.unwrap_or_else(|| Err(self.readers.lost())),
            Err(error) => Err(error),
        };
        if !matches!(handed, Ok((_, Left::Something))) {
            self.state = State::Over;
        }
        Some(handed.map(|(draft, _)| draft.into_page()))
    }

    async fn ask(&self, pages: usize) -> Result<(), StoreError> {
        if self.desk.wanted.fetch_add(pages, Ordering::AcqRel) > 0 {
            return Ok(());
        }
        let Some(course) = self.desk.parked.lock().take() else { return Ok(()) };
        let (readers, desk) = (self.readers.clone(), Arc::clone(&self.desk));
        let task = Task { readers, desk, course };
        self.readers.send(move |reader| task.run(reader)).await
    }
}

/// What a reading thread is given.
struct Task {
    readers: Readers,
    desk: Arc<Desk>,
    course: Course,
}

impl Task {
    /// Reads while pages are wanted; after some it goes to the end of the queue.
    fn run(mut self, reader: &mut Reader) {
        for pages in 1.. {
            if self.course.pages.is_closed() {
                return;
            }
            let handed = self.course.page(reader);
            let goes_on = matches!(handed, Ok((_, Left::Something)));
            if self.course.pages.try_send(handed).is_err() || !goes_on {
                return;
            }
            match self.desk.next(self.course) {
                Some(course) => self.course = course,
                None => return,
            }
            if self.readers.are_closed() {
                return;
            }
            if pages % TURN == 0 && self.readers.are_wanted() {
                return self.readers.clone().go_round(move |reader| self.run(reader));
            }
        }
    }
}

impl Desk {
    /// Parks the course; gives it back if more is wanted.
    fn next(&self, course: Course) -> Option<Course> {
        *self.parked.lock() = Some(course);
        match self.wanted.fetch_sub(1, Ordering::AcqRel) {
            1 => None,
            _ => self.parked.lock().take(),
        }
    }
}

impl Course {
    fn page(&mut self, reader: &mut Reader) -> Handed {
        let (draft, window) = self.read(reader)?;
        self.left = self.left.saturating_sub(draft.rows.len() as u64);
        let is_over = self.left == 0 || window.is_read();
        Ok((draft, if is_over { Left::Nothing } else { Left::Something }))
    }

    fn read(&mut self, reader: &mut Reader) -> Result<(Draft, Window), StoreError> {
        let Reader { connection, names } = reader;
        if let Stage::Asked(read) = &self.stage {
            let whole = Window::new(read, head(connection)?);
            let window = window_of_append(connection, read, whole)?;
            if self.left == 0 {
                return Ok((Draft::empty(read.after), whole.emptied()));
            }
            if window.is_read() {
                return Ok((Draft::empty(read.after.max(whole.up_to)), window));
            }
            self.stage = Stage::Under(Query::resolve(connection, read.clone())?, window);
        }
        let Stage::Under(query, window) = &mut self.stage else { return Err(closed()) };
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (draft, left) = query.page(connection, names, *window, wanted)?;
        *window = left;
        Ok((draft, left))
    }
}
