use es_core::{Codec, Event, EventType};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    Opened {
        owner: String,
    },
    #[event(version = 2, alias = "account.paid_in", alias = "AccountCredited")]
    Deposited {
        amount: u64,
    },
    #[event(name = "account.frozen.by_court")]
    Frozen(u32, String),
    Renamed(String),
    HTTPRequested,
}

#[derive(Serialize, Deserialize, Event)]
#[event(name = "bell.rung", version = 3, alias = "bell.rang")]
struct Rung {
    times: u32,
}

#[derive(Serialize, Deserialize, Event)]
#[event(name = "bell.cast")]
struct Cast;

#[derive(Serialize, Deserialize, Event)]
enum Mixed {
    #[event(name = "one.first")]
    First,
    #[event(name = "two.second")]
    Second,
}

mod elsewhere {
    pub(crate) use es_core::*;
}

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "far", crate = "elsewhere")]
enum Elsewhere {
    Away,
}

fn examples() -> [AccountEvent; 5] {
    [
        AccountEvent::Opened { owner: "ada".into() },
        AccountEvent::Deposited { amount: 5 },
        AccountEvent::Frozen(1, "why".into()),
        AccountEvent::Renamed("bob".into()),
        AccountEvent::HTTPRequested,
    ]
}

fn names<E: Event>() -> Vec<&'static str> {
    E::TYPES.iter().map(|known| known.name).collect()
}

#[test]
fn names_are_the_prefix_and_the_variant_unless_written() {
    let expected = [
        "account.opened",
        "account.deposited",
        "account.frozen.by_court",
        "account.renamed",
        "account.http_requested",
    ];
    assert_eq!(names::<AccountEvent>(), expected);
    assert_eq!(names::<Mixed>(), ["one.first", "two.second"]);
    assert_eq!(names::<Elsewhere>(), ["far.away"]);
}

#[test]
fn the_version_is_1_unless_written() {
    let versions: Vec<_> = AccountEvent::TYPES.iter().map(|known| known.version).collect();
    assert_eq!(versions, [1, 2, 1, 1, 1]);
}

#[test]
fn aliases_stand_in_their_order() {
    assert_eq!(AccountEvent::TYPES[0].aliases, &[] as &[&str]);
    assert_eq!(AccountEvent::TYPES[1].aliases, ["account.paid_in", "AccountCredited"]);
}

#[test]
fn a_struct_is_one_type() {
    let rung = EventType::new("bell.rung").version(3).aliases(&["bell.rang"]);
    assert_eq!(Rung::TYPES, [rung]);
    assert_eq!(Rung { times: 1 }.index(), 0);
    assert_eq!(Rung::index_of("bell.rang"), Some(0));
    assert_eq!(Cast.event_type().name, "bell.cast");
}

#[test]
fn the_index_is_the_place_of_the_variant() {
    let indexes: Vec<_> = examples().iter().map(Event::index).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 4]);
}

#[test]
fn every_variant_is_read_back_by_its_index() {
    for event in examples() {
        let fields = Codec::Json.encode(&event).unwrap();
        let read: AccountEvent = Codec::Json.decode(event.index(), &fields).unwrap();
        assert_eq!(read, event);
    }
}

#[test]
fn every_name_and_alias_leads_to_its_type_and_nothing_else_does() {
    for (index, known) in AccountEvent::TYPES.iter().enumerate() {
        assert_eq!(AccountEvent::index_of(known.name), Some(index));
        for alias in known.aliases {
            assert_eq!(AccountEvent::index_of(alias), Some(index));
        }
    }
    for stranger in ["", "account", "account.frozen", "Opened", "account.opened "] {
        assert_eq!(AccountEvent::index_of(stranger), None, "{stranger}");
    }
}

#[test]
fn an_event_without_tag_fields_has_no_tags() {
    assert!(examples().iter().all(|event| event.tags() == Ok(Vec::new())));
}
