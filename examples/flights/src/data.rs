//! The year as the Bureau of Transportation Statistics wrote it down.

use std::{fs::File, path::Path};

use anyhow::{Context, Result};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use csv::Reader;
use flate2::read::GzDecoder;
use serde::Deserialize;

use crate::flight::Leg;

/// Flights in the file; for the progress line only.
pub(crate) const FLIGHTS: u64 = 336_776;

/// A line of the file.
#[derive(Debug, Deserialize)]
struct Line {
    year: i32,
    month: u32,
    day: u32,
    sched_dep_time: u32,
    #[serde(deserialize_with = "csv::invalid_option")]
    dep_delay: Option<i32>,
    #[serde(deserialize_with = "csv::invalid_option")]
    arr_delay: Option<i32>,
    carrier: String,
    flight: u32,
    tailnum: String,
    origin: String,
    dest: String,
    #[serde(deserialize_with = "csv::invalid_option")]
    air_time: Option<u32>,
}

/// What is known about one flight after the day.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) departs: DateTime<Utc>,
    pub(crate) leg: Leg,
    pub(crate) end: End,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Cancelled,
    Diverted { departure_delay: i32 },
    Landed { departure_delay: i32, arrival_delay: i32, air_time: u32 },
}

/// The flights of the file, in its order.
pub(crate) fn flights(path: &Path) -> Result<impl Iterator<Item = Result<Known>> + use<>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = Reader::from_reader(GzDecoder::new(file));
    reader.headers().context("the file is no gzipped CSV file")?;
    let lines = reader.into_deserialize::<Line>();
    Ok(lines.map(|line| known(line.context("the file has a bad line")?)))
}

fn known(line: Line) -> Result<Known> {
    let end = match (line.dep_delay, line.air_time, line.arr_delay) {
        (None, ..) => End::Cancelled,
        (Some(departure_delay), Some(air_time), Some(arrival_delay)) => {
            End::Landed { departure_delay, arrival_delay, air_time }
        }
        (Some(departure_delay), ..) => End::Diverted { departure_delay },
    };
    let date = NaiveDate::from_ymd_opt(line.year, line.month, line.day).context("no such day")?;
    let (hour, minute) = (line.sched_dep_time / 100, line.sched_dep_time % 100);
    let minutes = TimeDelta::minutes(i64::from(hour * 60 + minute));
    let Line { carrier, flight, origin, .. } = line;
    Ok(Known {
        id: format!("{carrier}-{flight}-{date}-{origin}"),
        departs: date.and_time(chrono::NaiveTime::MIN).and_utc() + minutes,
        leg: Leg {
            carrier,
            origin,
            destination: line.dest,
            hour: u8::try_from(hour).context("no such hour")?,
            aircraft: (line.tailnum != "NA").then_some(line.tailnum),
        },
        end,
    })
}
