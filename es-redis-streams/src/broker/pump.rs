//! What talks to the server for all members of a group in this process.

use std::{sync::Arc, time::Duration};

use es_core::{StoreError, StoreErrorKind};
use redis::Value;
use tracing::{info, warn};

use super::{
    bell::Bell,
    link::Link,
    members::{Left, Members},
    turn::{Answer, Asked, Done, millis},
};
use crate::scripts;

/// The longest pause between two attempts to reach the server.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Turns in the time of a lease.
const TURNS: u32 = 3;

pub(super) struct Pump {
    members: Arc<Members>,
    link: Arc<Link>,
    key: String,
    bell: Bell,
    session: Session,
    /// How many turns have failed since the last that has not.
    failed: u32,
}

/// What the server knows this process by.
struct Session {
    id: String,
    turns: u64,
    /// The last turn whose answer was heard.
    answered: u64,
    /// Whether the server might think that more is in hand than is.
    is_in_doubt: bool,
}

impl Session {
    fn new(link: &Link) -> Self {
        let id = format!("{:016x}", link.connection.world.random_u64());
        Self { id, turns: 0, answered: 0, is_in_doubt: false }
    }
}

impl Pump {
    pub(super) fn new(members: Arc<Members>, link: Arc<Link>) -> Self {
        let key = link.keys.group(&members.group);
        let bell = Bell::new(Arc::clone(&link.connection), format!("{key}:bell"));
        let session = Session::new(&link);
        Self { members, link, key, bell, session, failed: 0 }
    }

    /// Goes on until nobody is left who takes or settles anything.
    pub(super) async fn run(mut self) {
        let _end = End(Arc::clone(&self.members));
        while let Some(pause) = self.turn().await {
            self.wait(pause).await;
        }
    }

    async fn turn(&mut self) -> Option<Pause> {
        let asked = self.members.ask(self.session.is_in_doubt);
        match self.say(&asked).await {
            Ok(Answer::Done(done)) => self.done(asked, done),
            Ok(Answer::Fenced) if asked.want.is_none() => Some(self.begin_anew(asked)),
            // Another process may have made the group anew, for patterns of its own.
            Ok(Answer::Fenced) => self.join_again(asked).await,
            Ok(Answer::Gone) if asked.want.is_none() => {
                self.members.fenced(asked);
                self.members.end(StoreErrorKind::Closed, "all members have left");
                None
            }
            Ok(Answer::Gone) => {
                info!(group = %self.members.group, "the server has lost the group, which is made anew");
                self.join_again(asked).await
            }
            Ok(Answer::Forgotten) => {
                self.members.fenced(asked);
                self.members.end(StoreErrorKind::Closed, "the group was forgotten");
                None
            }
            Err(error) => self.failed(asked, &error),
        }
    }

    async fn say(&mut self, asked: &Asked) -> Result<Answer, StoreError> {
        self.session.turns += 1;
        let Self { members, link, key, session, .. } = self;
        let said: Vec<Value> = link
            .connection
            .run(&scripts::TURN, |command| {
                command.arg(1).arg(&*key).arg(&session.id);
                command.arg(session.turns).arg(session.answered);
                command.arg(millis(link.limits.lease));
                match asked.want {
                    Some(want) => command.arg(want),
                    None => command.arg(-1),
                };
                members.terms.write(command.arg(link.limits.dead_letters));
                asked.write(command);
            })
            .await?;
        Answer::read(said)
    }

    fn done(&mut self, asked: Asked, done: Done) -> Option<Pause> {
        (self.failed, self.session.is_in_doubt) = (0, false);
        self.session.answered = self.session.turns;
        let pause = Pause::after(&done, self.link.limits.lease / TURNS);
        match self.members.done(asked, done) {
            Left::Members => Some(pause),
            Left::Latecomers => {
                self.session = Session::new(&self.link);
                Some(Pause::None)
            }
            Left::Nobody => None,
        }
    }

    /// As somebody else, to whom nothing was given yet.
    fn begin_anew(&mut self, asked: Asked) -> Pause {
        let group = &self.members.group;
        warn!(%group, "what was in hand comes again, as the lease was over");
        self.members.fenced(asked);
        self.session = Session::new(&self.link);
        Pause::None
    }

    /// A server that has lost everything has lost the group too.
    async fn join_again(&mut self, asked: Asked) -> Option<Pause> {
        match self.link.join_again(&self.members).await {
            Ok(()) => Some(self.begin_anew(asked)),
            Err(error) => self.failed(asked, &error),
        }
    }

    /// Whoever wants to leave does not wait for the server: its lease will be over.
    fn failed(&mut self, asked: Asked, error: &StoreError) -> Option<Pause> {
        let group = &self.members.group;
        warn!(%error, %group, "a group cannot be reached, trying again");
        self.session.is_in_doubt = true;
        if self.members.failed(asked, error) == Left::Nobody {
            return None;
        }
        let pause = Duration::from_millis(10 << self.failed.min(8)).min(LONGEST_PAUSE);
        self.failed = self.failed.saturating_add(1);
        Some(Pause::Failed(pause))
    }

    async fn wait(&mut self, pause: Pause) {
        let world = &self.link.connection.world;
        match pause {
            Pause::None => {}
            Pause::Until { .. } if self.members.has_more_to_say() => {}
            Pause::Failed(pause) => world.sleep(pause).await,
            Pause::Until { .. } if !self.members.wants() => tokio::select! {
                () = self.members.work.notified() => {}
                () = world.sleep(self.link.limits.lease / TURNS) => {}
            },
            Pause::Until { left: true, .. } => {}
            Pause::Until { most, heard, .. } => tokio::select! {
                () = self.members.work.notified() => {}
                () = self.bell.rung(&heard) => {}
                () = world.sleep(most) => {}
            },
        }
    }
}

/// How long to wait for the next turn.
enum Pause {
    None,
    Failed(Duration),
    Until {
        /// Whether there is more to take.
        left: bool,
        most: Duration,
        heard: String,
    },
}

impl Pause {
    fn after(done: &Done, most: Duration) -> Self {
        let most = done.wait.map_or(most, |wait| wait.min(most));
        Self::Until { left: done.left, most, heard: done.heard.clone() }
    }
}

/// Also if the runtime ends, which drops what it runs.
struct End(Arc<Members>);

impl Drop for End {
    fn drop(&mut self) {
        let why = "the runtime has ended that talked to the server for this group";
        self.0.end(StoreErrorKind::Closed, why);
    }
}
