//! A trip with all that a graph can have.

use std::time::Duration;

use saga::{Definition, Path, Probe, RetryPolicy, Step, Work};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trip {
    pub(crate) city: String,
    pub(crate) room: Option<u32>,
    pub(crate) seats: Vec<String>,
    pub(crate) insurance: Insurance,
    pub(crate) paid: bool,
    pub(crate) asked: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Insurance {
    pub(crate) policy: Option<String>,
}

pub(crate) fn to_rome() -> Trip {
    Trip { city: "Rome".into(), ..Trip::default() }
}

/// Hotel and two flights beside each other, an insurance with a saga of its own, a charge that
/// is asked for, then mails until somebody has answered, and a present for those who go to
/// Rome.
pub(crate) fn trip() -> Definition<Trip> {
    let hotel = Step::new("hotel", |_: Work<Trip>| async { Ok(7) })
        .extend(|trip, room| trip.room = Some(room))
        .compensate(|_| async { Ok(()) });
    let flights = ["there", "back"].into_iter().fold(Path::new(), |path, way| {
        let flight = Step::new(way, move |_: Work<Trip>| async move { Ok(way.to_owned()) })
            .extend(|trip, seat| trip.seats.push(seat))
            .compensate(|_| async { Ok(()) })
            .probe(|_| async { Ok(Probe::Unknown) });
        path.step(flight)
    });
    let charge = Step::ask("charge", Duration::from_secs(60), |_: Work<Trip>| async { Ok(()) })
        .extend(|trip, paid| trip.paid = paid)
        .pivot();
    let mail = Step::new("mail", |work: Work<Trip>| async move { Ok(work.data.asked + 1) })
        .extend(|trip, asked| trip.asked = asked)
        .retry(RetryPolicy::new(8))
        .retriable();
    let present = Step::new("present", |_: Work<Trip>| async { Ok(()) }).retriable();
    let path = Path::new()
        .all([Path::of(hotel), flights])
        .nest("insurance", insurance(), |trip| &trip.insurance, |trip| &mut trip.insurance)
        .step(charge)
        .repeat("mails", 3, |trip| trip.asked < 2, Path::of(mail))
        .when("to_rome", |trip| trip.city == "Rome", Path::of(present));
    Definition::new("trip", 1, path).expect("a graph that can be run")
}

fn insurance() -> Path<Insurance> {
    let offer = Step::new("offer", |_: Work<Insurance>| async { Ok(()) });
    let sign = Step::new("sign", |_: Work<Insurance>| async { Ok("number 9".to_owned()) })
        .extend(|insurance: &mut Insurance, policy| insurance.policy = Some(policy))
        .compensate(|_| async { Ok(()) });
    Path::of(offer).step(sign)
}
