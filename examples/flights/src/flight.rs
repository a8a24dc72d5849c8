//! A flight: what can happen to it, and what cannot.

use chrono::{DateTime, Utc};
use gesta::{Aggregate, Command, Decide, Event, Evolve};
use serde::{Deserialize, Serialize};

/// What happened to a flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "flight")]
pub(crate) enum FlightEvent {
    Scheduled { departs: DateTime<Utc>, leg: Leg },
    Departed { delay: i32, leg: Leg },
    Landed { delay: i32, air_time: u32, leg: Leg },
    Diverted { leg: Leg },
    Cancelled { leg: Leg },
}

/// What read models ask about each of its events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Leg {
    pub(crate) carrier: String,
    pub(crate) origin: String,
    pub(crate) destination: String,
    /// The hour at which it should leave, local time.
    pub(crate) hour: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aircraft: Option<String>,
}

impl FlightEvent {
    pub(crate) fn leg(&self) -> &Leg {
        match self {
            Self::Scheduled { leg, .. }
            | Self::Departed { leg, .. }
            | Self::Landed { leg, .. }
            | Self::Diverted { leg }
            | Self::Cancelled { leg } => leg,
        }
    }
}

/// One flight, `UA-1545-2013-01-01-EWR`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Aggregate)]
#[aggregate(category = "flight", error = Refusal)]
pub(crate) struct Flight {
    pub(crate) status: Status,
    pub(crate) leg: Leg,
    pub(crate) departure_delay: Option<i32>,
    pub(crate) arrival_delay: Option<i32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    #[default]
    Unknown,
    Scheduled,
    Departed,
    Landed,
    Diverted,
    Cancelled,
}

/// Why a command makes no sense for a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) command: &'static str,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot {} a flight that is {:?}", self.command, self.status)
    }
}

impl Evolve for Flight {
    type Event = FlightEvent;

    fn evolve(&mut self, event: &FlightEvent) {
        match event {
            FlightEvent::Scheduled { leg, .. } => {
                self.leg = leg.clone();
                self.status = Status::Scheduled;
            }
            FlightEvent::Departed { delay, .. } => {
                self.departure_delay = Some(*delay);
                self.status = Status::Departed;
            }
            FlightEvent::Landed { delay, .. } => {
                self.arrival_delay = Some(*delay);
                self.status = Status::Landed;
            }
            FlightEvent::Diverted { .. } => self.status = Status::Diverted,
            FlightEvent::Cancelled { .. } => self.status = Status::Cancelled,
        }
    }
}

impl Flight {
    fn must_be(&self, status: Status, command: &'static str) -> Result<Leg, Refusal> {
        if self.status == status {
            return Ok(self.leg.clone());
        }
        Err(Refusal { status: self.status, command })
    }
}

#[derive(Debug, Clone, Command)]
#[command(creates)]
pub(crate) struct Schedule {
    #[id(Flight)]
    pub(crate) flight: String,
    pub(crate) departs: DateTime<Utc>,
    pub(crate) leg: Leg,
}

impl Decide<Schedule> for Flight {
    fn decide(&self, schedule: &Schedule) -> Result<Vec<FlightEvent>, Refusal> {
        self.must_be(Status::Unknown, "schedule")?;
        let Schedule { departs, leg, .. } = schedule.clone();
        Ok(vec![FlightEvent::Scheduled { departs, leg }])
    }
}

#[derive(Debug, Clone, Command)]
pub(crate) struct Depart {
    #[id(Flight)]
    pub(crate) flight: String,
    pub(crate) delay: i32,
}

impl Decide<Depart> for Flight {
    fn decide(&self, depart: &Depart) -> Result<Vec<FlightEvent>, Refusal> {
        let leg = self.must_be(Status::Scheduled, "depart")?;
        Ok(vec![FlightEvent::Departed { delay: depart.delay, leg }])
    }
}

#[derive(Debug, Clone, Command)]
pub(crate) struct Land {
    #[id(Flight)]
    pub(crate) flight: String,
    pub(crate) delay: i32,
    pub(crate) air_time: u32,
}

impl Decide<Land> for Flight {
    fn decide(&self, land: &Land) -> Result<Vec<FlightEvent>, Refusal> {
        let leg = self.must_be(Status::Departed, "land")?;
        Ok(vec![FlightEvent::Landed { delay: land.delay, air_time: land.air_time, leg }])
    }
}

#[derive(Debug, Clone, Command)]
pub(crate) struct Divert {
    #[id(Flight)]
    pub(crate) flight: String,
}

impl Decide<Divert> for Flight {
    fn decide(&self, _: &Divert) -> Result<Vec<FlightEvent>, Refusal> {
        Ok(vec![FlightEvent::Diverted { leg: self.must_be(Status::Departed, "divert")? }])
    }
}

#[derive(Debug, Clone, Command)]
pub(crate) struct Cancel {
    #[id(Flight)]
    pub(crate) flight: String,
}

impl Decide<Cancel> for Flight {
    fn decide(&self, _: &Cancel) -> Result<Vec<FlightEvent>, Refusal> {
        Ok(vec![FlightEvent::Cancelled { leg: self.must_be(Status::Scheduled, "cancel")? }])
    }
}
