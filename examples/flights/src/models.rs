//! Four read models: the same tally, by carrier, origin, aircraft, and by route
//! and hour.

use gesta::{Evolve, Keys, Recorded, View};
use serde::{Deserialize, Serialize};

use crate::flight::FlightEvent;

/// What is counted of some flights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) flights: u64,
    pub(crate) departed: u64,
    pub(crate) landed: u64,
    pub(crate) diverted: u64,
    pub(crate) cancelled: u64,
    /// The sum of the departure delays, in minutes.
    pub(crate) departure_delay: i64,
    /// The sum of the arrival delays of landed flights, in minutes.
    pub(crate) arrival_delay: i64,
}

impl Tally {
    fn count(&mut self, event: &FlightEvent) {
        match event {
            FlightEvent::Scheduled { .. } => self.flights += 1,
            FlightEvent::Departed { delay, .. } => {
                self.departed += 1;
                self.departure_delay += i64::from(*delay);
            }
            FlightEvent::Landed { delay, .. } => {
                self.landed += 1;
                self.arrival_delay += i64::from(*delay);
            }
            FlightEvent::Diverted { .. } => self.diverted += 1,
            FlightEvent::Cancelled { .. } => self.cancelled += 1,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "sums of minutes stay far below 2^52")]
    pub(crate) fn mean_arrival_delay(&self) -> Option<f64> {
        (self.landed > 0).then(|| self.arrival_delay as f64 / self.landed as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "sums of minutes stay far below 2^52")]
    pub(crate) fn mean_departure_delay(&self) -> Option<f64> {
        (self.departed > 0).then(|| self.departure_delay as f64 / self.departed as f64)
    }
}

macro_rules! tally_by {
    ($(#[$doc:meta])* $type:ident, $name:literal, $key:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub(crate) struct $type(pub(crate) Tally);

        impl Evolve for $type {
            type Event = FlightEvent;

            fn evolve(&mut self, event: &FlightEvent) {
                self.0.count(event);
            }
        }

        impl View for $type {
            const NAME: &'static str = $name;
            type Key = String;

            fn keys(flight: Recorded<'_, FlightEvent>) -> Keys<String> {
                let key: fn(&crate::flight::Leg) -> Option<String> = $key;
                key(flight.event.leg()).into()
            }
        }
    };
}

tally_by!(
    /// How the airlines did.
    ByCarrier,
    "by-carrier",
    |leg| Some(leg.carrier.clone())
);
tally_by!(
    /// How the three airports did.
    ByOrigin,
    "by-origin",
    |leg| Some(leg.origin.clone())
);
tally_by!(
    /// How each aircraft did, by its tail number where that is known.
    ByAircraft,
    "by-aircraft",
    |leg| leg.aircraft.clone()
);
tally_by!(
    /// How each route did at each hour of the day: `EWR-IAH 05h`.
    ByRouteAndHour,
    "by-route-and-hour",
    |leg| Some(format!("{}-{} {:02}h", leg.origin, leg.destination, leg.hour))
);
