//! Sends the year to its flights, many at once, each flight's commands in order.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use futures_util::{StreamExt, stream};
use gesta::{AppendId, Checkpoints, Command, Commands, Decide, Name, Position, SendError, Sent};
use tokio::sync::mpsc;

use crate::{
    data::{self, End, Known},
    flight::{Cancel, Depart, Divert, Flight, Land, Refusal, Schedule},
    progress::Line,
};

/// Flights under way at once.
const AT_ONCE: usize = 4_096;
/// Flights after which the import notes how far it has come.
const NOTE_EVERY: u64 = 16_384;

/// Imports what is not imported yet, and says how many flights there are.
///
/// The note of how far it has come only saves time: whatever is sent again
/// bears the id of its first try, and nothing happens twice.
pub(crate) async fn import(
    commands: &Commands,
    notes: Arc<dyn Checkpoints>,
    path: &Path,
    limit: u64,
) -> Result<u64> {
    let note = Name::new("import")?;
    let start = notes.load(&note).await?;
    let mut noted = start.taken_over();
    notes.save(&note, start, noted).await?;
    let done = noted.position.get().min(limit);
    let total = limit.min(data::FLIGHTS);
    let mut line = Line::new("importing", "flights", total, done);

    let flights = stream::unfold(read(path, done, limit), |mut flights| async move {
        flights.recv().await.map(|flight| (flight, flights))
    });
    let imported = flights
        .map(|flight| {
            let commands = commands.clone();
            task(async move { send_all(&commands, flight?).await })
        })
        .buffered(AT_ONCE);
    let mut imported = std::pin::pin!(imported);
    let mut count = done;
    while let Some(outcome) = imported.next().await {
        outcome?;
        count += 1;
        line.tick(count);
        if count.is_multiple_of(NOTE_EVERY) {
            noted = note_down(&*notes, &note, noted, count).await?;
        }
    }
    note_down(&*notes, &note, noted, count).await?;
    line.finish(count);
    Ok(count)
}

/// Runs a flight as a task of its own, on whichever core is free.
#[expect(clippy::disallowed_methods, reason = "a program may start tasks as it likes")]
async fn task(flight: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
    tokio::spawn(flight).await?
}

async fn note_down(
    notes: &dyn Checkpoints,
    note: &Name,
    noted: gesta::Checkpoint,
    count: u64,
) -> Result<gesta::Checkpoint> {
    let next = noted.at(Position::new(count));
    notes.save(note, noted, next).await?;
    Ok(next)
}

/// Reads the file in a thread of its own.
fn read(path: &Path, from: u64, to: u64) -> mpsc::Receiver<Result<Known>> {
    let (send, receive) = mpsc::channel(AT_ONCE);
    let path = path.to_owned();
    let skip = usize::try_from(from).unwrap_or(usize::MAX);
    let take = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    std::thread::spawn(move || match data::flights(&path) {
        Err(error) => drop(send.blocking_send(Err(error))),
        Ok(flights) => {
            for flight in flights.skip(skip).take(take) {
                if send.blocking_send(flight).is_err() {
                    return;
                }
            }
        }
    });
    receive
}

async fn send_all(commands: &Commands, known: Known) -> Result<()> {
    let Known { id: flight, departs, leg, end } = known;
    let step = |name: &str| commands.once(AppendId::at(departs, &format!("{flight}/{name}")));
    let schedule = Schedule { flight: flight.clone(), departs, leg };
    send(&step("schedule"), schedule).await?;
    match end {
        End::Cancelled => send(&step("cancel"), Cancel { flight: flight.clone() }).await?,
        End::Diverted { departure_delay: delay } => {
            send(&step("depart"), Depart { flight: flight.clone(), delay }).await?;
            send(&step("divert"), Divert { flight: flight.clone() }).await?
        }
        End::Landed { departure_delay: delay, arrival_delay, air_time } => {
            send(&step("depart"), Depart { flight: flight.clone(), delay }).await?;
            let land = Land { flight: flight.clone(), delay: arrival_delay, air_time };
            send(&step("land"), land).await?
        }
    };
    Ok(())
}

async fn send<C>(commands: &Commands, command: C) -> Result<Sent>
where
    C: Command<Aggregate = Flight>,
    Flight: Decide<C>,
{
    let sent = commands.send(command).await;
    sent.map_err(|error: SendError<Refusal>| match error {
        SendError::Rejected(refusal) => anyhow!("{refusal}"),
        other => anyhow!(other),
    })
    .with_context(|| format!("{} failed", C::NAME))
}

/// The time that something takes, on the machine's own clock.
#[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn seconds(since: Instant) -> f64 {
    (since.elapsed().max(Duration::from_millis(1))).as_secs_f64()
}
