//! Tables that people like to look at, and the JSON that programs like.

use std::collections::BTreeMap;

use anyhow::Result;
use gesta::{Projector, Views};
use serde::Serialize;

use crate::models::{ByAircraft, ByCarrier, ByOrigin, ByRouteAndHour, Tally};

/// Everything that the read models know.
#[derive(Debug, PartialEq)]
pub(crate) struct Models {
    pub(crate) carriers: Vec<(String, Tally)>,
    pub(crate) origins: Vec<(String, Tally)>,
    pub(crate) aircraft: Vec<(String, Tally)>,
    pub(crate) routes: Vec<(String, Tally)>,
}

impl Models {
    pub(crate) async fn read<V: Views>(projector: &Projector<V>) -> Result<Self> {
        let carriers = projector.all::<ByCarrier>().await?.into_iter();
        let origins = projector.all::<ByOrigin>().await?.into_iter();
        let aircraft = projector.all::<ByAircraft>().await?.into_iter();
        let routes = projector.all::<ByRouteAndHour>().await?.into_iter();
        Ok(Self {
            carriers: carriers.map(|(key, row)| (key, row.0)).collect(),
            origins: origins.map(|(key, row)| (key, row.0)).collect(),
            aircraft: aircraft.map(|(key, row)| (key, row.0)).collect(),
            routes: routes.map(|(key, row)| (key, row.0)).collect(),
        })
    }
}

impl Models {
    /// Whether so many flights have come to their end.
    pub(crate) fn are_done(&self, flights: u64) -> bool {
        let tallies = self.carriers.iter().map(|(_, tally)| tally);
        tallies.map(|tally| tally.landed + tally.diverted + tally.cancelled).sum::<u64>() >= flights
    }
}

/// The last line of a run with `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    flights: u64,
    events: u64,
    by_status: ByStatus,
    by_origin: BTreeMap<String, u64>,
    by_carrier: BTreeMap<String, Carrier>,
    import_seconds: f64,
    rebuild_seconds: f64,
}

#[derive(Debug, Serialize)]
struct ByStatus {
    landed: u64,
    diverted: u64,
    cancelled: u64,
}

#[derive(Debug, Serialize)]
struct Carrier {
    flights: u64,
    cancelled: u64,
    diverted: u64,
    mean_arrival_delay_minutes: Option<f64>,
}

impl Summary {
    pub(crate) fn new(models: &Models, import_seconds: f64, rebuild_seconds: f64) -> Self {
        let sum = |of: fn(&Tally) -> u64| models.carriers.iter().map(|(_, tally)| of(tally)).sum();
        let carrier = |(key, tally): &(String, Tally)| {
            let carrier = Carrier {
                flights: tally.flights,
                cancelled: tally.cancelled,
                diverted: tally.diverted,
                mean_arrival_delay_minutes: tally.mean_arrival_delay(),
            };
            (key.clone(), carrier)
        };
        Self {
            flights: sum(|tally| tally.flights),
            events: sum(|t| t.flights + t.departed + t.landed + t.diverted + t.cancelled),
            by_status: ByStatus {
                landed: sum(|tally| tally.landed),
                diverted: sum(|tally| tally.diverted),
                cancelled: sum(|tally| tally.cancelled),
            },
            by_origin: models.origins.iter().map(|(key, t)| (key.clone(), t.flights)).collect(),
            by_carrier: models.carriers.iter().map(carrier).collect(),
            import_seconds,
            rebuild_seconds,
        }
    }
}

/// Prints the tables.
pub(crate) fn print(models: &Models) {
    let mut carriers = models.carriers.clone();
    carriers.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.flights));
    table("carrier", &carriers);
    table("origin", &models.origins);
    let mut aircraft = models.aircraft.clone();
    aircraft.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.flights));
    aircraft.truncate(10);
    table("busiest aircraft", &aircraft);
    let mut routes = models.routes.clone();
    routes.retain(|(_, tally)| tally.landed >= 100);
    routes.sort_by(|(_, one), (_, other)| {
        other.mean_arrival_delay().total_cmp(&one.mean_arrival_delay())
    });
    routes.truncate(10);
    table("latest route, hour", &routes);
}

trait TotalCmp {
    fn total_cmp(&self, other: &Self) -> std::cmp::Ordering;
}

impl TotalCmp for Option<f64> {
    fn total_cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.unwrap_or(f64::MIN).total_cmp(&other.unwrap_or(f64::MIN))
    }
}

fn table(title: &str, rows: &[(String, Tally)]) {
    println!(
        "\n{title:<18} {:>8} {:>8} {:>9} {:>9} {:>11} {:>11}",
        "flights", "landed", "cancelled", "diverted", "late at dep", "late at arr"
    );
    let minutes =
        |mean: Option<f64>| mean.map_or(String::from("-"), |mean| format!("{mean:.1} min"));
    for (key, tally) in rows {
        println!(
            "{key:<18} {:>8} {:>8} {:>9} {:>9} {:>11} {:>11}",
            tally.flights,
            tally.landed,
            tally.cancelled,
            tally.diverted,
            minutes(tally.mean_departure_delay()),
            minutes(tally.mean_arrival_delay()),
        );
    }
}
