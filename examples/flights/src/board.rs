//! A table of departures in the terminal that follows the events.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{IsTerminal, Write},
    time::Duration,
};

use anyhow::Result;
use futures_util::StreamExt;
use gesta::{EventStore, EventStoreExt, Evolve, Position, Read};

use crate::flight::{Flight, FlightEvent, Status};

/// Flights on the board.
const LINES: usize = 20;
/// Flights that are remembered; the oldest that is not on the board is forgotten.
const REMEMBERED: usize = 10_000;
/// How often the board is drawn at most.
const EVERY: Duration = Duration::from_millis(200);

/// Shows what departs, lands, is diverted or cancelled, from now on.
#[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
pub(crate) async fn board(store: &impl EventStore, from: Position) -> Result<()> {
    let mut events = store.tail(Read::category("flight")?.after(from));
    let mut board = Board::default();
    let mut draws = std::pin::pin!(tokio::time::sleep(EVERY));
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return Ok(()) };
                let event = event?;
                if let Some(change) = event.decode::<FlightEvent>()? {
                    board.change(event.stream.id(), &change);
                }
            }
            () = &mut draws => {
                board.draw()?;
                draws.set(tokio::time::sleep(EVERY));
            }
            stopped = tokio::signal::ctrl_c() => return Ok(stopped?),
        }
    }
}

/// The flights that changed last, the latest at the end.
#[derive(Default)]
struct Board {
    flights: BTreeMap<String, Flight>,
    order: VecDeque<String>,
    events: u64,
    drawn: u64,
}

impl Board {
    fn change(&mut self, id: &str, event: &FlightEvent) {
        self.events += 1;
        self.flights.entry(id.to_owned()).or_default().evolve(event);
        self.order.retain(|other| other != id);
        self.order.push_back(id.to_owned());
        if self.order.len() > LINES {
            self.order.pop_front();
        }
        if self.flights.len() > REMEMBERED {
            let shown: Vec<_> = self.order.iter().collect();
            self.flights.retain(|id, _| shown.contains(&id));
        }
    }

    /// On a terminal in place of the last one; else one after the other.
    fn draw(&mut self) -> Result<()> {
        if self.drawn == self.events {
            return Ok(());
        }
        self.drawn = self.events;
        let mut out = std::io::stdout().lock();
        if out.is_terminal() {
            write!(out, "\x1b[H\x1b[2J")?;
        }
        writeln!(
            out,
            "{:<26} {:<9} {:<10} {:>10} {:>10}",
            "flight", "route", "status", "dep", "arr"
        )?;
        for id in &self.order {
            let Some(flight) = self.flights.get(id) else { continue };
            let route = format!("{}-{}", flight.leg.origin, flight.leg.destination);
            writeln!(
                out,
                "{id:<26} {route:<9} {:<10} {:>10} {:>10}",
                status(flight.status),
                minutes(flight.departure_delay),
                minutes(flight.arrival_delay),
            )?;
        }
        writeln!(out, "{} events", self.events)?;
        Ok(out.flush()?)
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Unknown => "-",
        Status::Scheduled => "scheduled",
        Status::Departed => "departed",
        Status::Landed => "landed",
        Status::Diverted => "diverted",
        Status::Cancelled => "cancelled",
    }
}

/// A delay, as `+12 min`.
fn minutes(delay: Option<i32>) -> String {
    delay.map_or_else(|| "-".to_owned(), |delay| format!("{delay:+} min"))
}
