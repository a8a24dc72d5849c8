//! What a process says to its group, and what it is told.

use std::time::Duration;

use bytes::Bytes;
use es_core::{Fault, StoreError, StoreErrorKind};
use redis::{Cmd, FromRedisValue, Value};
use tokio::sync::oneshot;

use super::letters;

/// What has become of a message that was in hand.
#[derive(Debug)]
pub(super) struct Settling {
    pub(super) number: u64,
    pub(super) lane: Bytes,
    pub(super) outcome: Outcome,
    /// Who waits for it to be known.
    pub(super) told: Option<oneshot::Sender<Result<(), StoreError>>>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Ack,
    Retry(Duration),
    Bury(Fault),
    /// Nobody has seen it.
    Return,
    /// Nobody can read it.
    SetAside,
}

impl Settling {
    /// If it is not known whether this was done, the message comes again.
    pub(super) fn again(mut self) -> Self {
        if matches!(self.outcome, Outcome::Ack | Outcome::Retry(_) | Outcome::Bury(_)) {
            self.outcome = Outcome::Retry(Duration::ZERO);
        }
        self
    }

    pub(super) fn tell(&mut self, outcome: Result<(), StoreError>) {
        if let Some(told) = self.told.take() {
            // Whoever has gone away need not know.
            let _ = told.send(outcome);
        }
    }
}

/// What is asked for in one turn.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) settling: Vec<Settling>,
    /// Most messages to take; with nothing the process takes its leave.
    pub(super) want: Option<usize>,
    /// All that it has in hand, if the server might think that it has more.
    pub(super) known: Option<Vec<u64>>,
}

impl Asked {
    /// Writes it as `turn.lua` reads it.
    pub(super) fn write(&self, command: &mut Cmd) {
        match &self.known {
            None => drop(command.arg(-1)),
            Some(known) => drop(command.arg(known.len()).arg(known)),
        }
        let is_ack = |settling: &&Settling| matches!(settling.outcome, Outcome::Ack);
        command.arg(self.settling.iter().filter(is_ack).count());
        for ack in self.settling.iter().filter(is_ack) {
            command.arg(ack.number).arg(&ack.lane[..]);
        }
        for settling in &self.settling {
            let number = settling.number;
            let mut say = |verb: &str, one: &str, two: &str| {
                command.arg(verb).arg(number).arg(one).arg(two);
            };
            match &settling.outcome {
                Outcome::Ack => {}
                Outcome::Retry(after) => say("retry", &millis(*after).to_string(), ""),
                Outcome::Bury(fault) => {
                    say("bury", &letters::kind_word(fault.kind), &fault.reason);
                }
                Outcome::Return => say("return", "", ""),
                Outcome::SetAside => say("set aside", "", ""),
            }
        }
    }
}

/// What begins is not over before its end.
pub(super) fn millis(duration: Duration) -> u64 {
    /// A thousand years, which Lua counts exactly.
    const LONGEST: u128 = 1_000 * 365 * 24 * 60 * 60 * 1_000;
    let millis = duration.as_nanos().div_ceil(1_000_000).min(LONGEST);
    u64::try_from(millis).expect("it is no longer than the longest")
}

/// What the server says.
#[derive(Debug)]
pub(super) enum Answer {
    Done(Done),
    /// The lease was over, and others were given what was in hand.
    Fenced,
    /// The server has lost the group.
    Gone,
    /// Somebody has removed the group.
    Forgotten,
}

#[derive(Debug)]
pub(super) struct Done {
    /// Whether there is more for others to take, or for another turn.
    pub(super) left: bool,
    /// When there will be more at the latest.
    pub(super) wait: Option<Duration>,
    /// The last that was rung before.
    pub(super) heard: String,
    /// What was not in hand any more.
    pub(super) fenced: Vec<u64>,
    /// What finds no room among the dead letters.
    pub(super) full: Vec<u64>,
    /// Numbers whose message is not there.
    pub(super) lost: Vec<u64>,
    pub(super) taken: Vec<Taken>,
}

/// A message as the server has it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) number: u64,
    pub(super) attempt: u32,
    pub(super) written: Bytes,
}

impl Answer {
    pub(super) fn read(said: Vec<Value>) -> Result<Self, StoreError> {
        let mut said = said.into_iter();
        match next::<String>(&mut said)?.as_str() {
            "done" => Done::read(&mut said).map(Self::Done),
            "gone" => Ok(Self::Gone),
            "forgotten" => Ok(Self::Forgotten),
            // Whose turn comes too late has had another one since.
            _ => Ok(Self::Fenced),
        }
    }
}

impl Done {
    fn read(said: &mut impl Iterator<Item = Value>) -> Result<Self, StoreError> {
        Ok(Self {
            left: next::<u64>(said)? > 0,
            wait: u64::try_from(next::<i64>(said)?).ok().map(Duration::from_millis),
            heard: next(said)?,
            fenced: next(said)?,
            full: next(said)?,
            lost: next(said)?,
            taken: taken(next(said)?)?,
        })
    }
}

fn taken(said: Vec<Value>) -> Result<Vec<Taken>, StoreError> {
    let mut all = Vec::with_capacity(said.len() / 3);
    let mut said = said.into_iter();
    while said.len() > 0 {
        let (number, attempt) = (next(&mut said)?, next(&mut said)?);
        let Some(Value::BulkString(written)) = said.next() else { return Err(damaged()) };
        all.push(Taken { number, attempt, written: written.into() });
    }
    Ok(all)
}

pub(super) fn next<T: FromRedisValue>(
    said: &mut impl Iterator<Item = Value>,
) -> Result<T, StoreError> {
    said.next().and_then(|value| redis::from_redis_value(value).ok()).ok_or_else(damaged)
}

pub(super) fn damaged() -> StoreError {
    let message = "the server holds something else under this prefix than what was written";
    StoreError::new(StoreErrorKind::Corrupt, message)
}
