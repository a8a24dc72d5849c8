use es_core::{Event, EventSchemas};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Not describable by itself.
#[derive(Serialize, Deserialize, Default)]
struct Cents(u64);

#[derive(Serialize, Deserialize, Event)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
#[event(prefix = "account")]
enum AccountEvent {
    /// Somebody came in.
    Opened {
        /// Who it is.
        full_name: String,
        referred_by: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[tag]
        labels: Vec<String>,
    },
    #[serde(rename = "paid", rename_all = "UPPERCASE")]
    Deposited {
        #[schemars(with = "u64")]
        amount: Cents,
    },
    Frozen(u32, String),
    Renamed(String),
    Closed,
}

#[derive(Default, Serialize, Deserialize, Event)]
#[serde(default, rename_all = "kebab-case")]
#[event(name = "bell.rung")]
struct Rung {
    how_often: u32,
}

fn schemas<E: EventSchemas>() -> Vec<Value> {
    E::schemas().into_iter().map(|known| known.schema.to_value()).collect()
}

#[test]
fn each_type_has_a_schema_under_its_name_in_order() {
    let schemas = AccountEvent::schemas();
    assert_eq!(schemas.len(), AccountEvent::TYPES.len());
    for (schema, known) in schemas.iter().zip(AccountEvent::TYPES) {
        assert_eq!(schema.event_type, known);
        assert_eq!(schema.schema.get("title"), Some(&json!(known.name)));
    }
}

#[test]
fn fields_have_the_names_that_serde_writes_and_their_comments() {
    let opened = &schemas::<AccountEvent>()[0];
    assert_eq!(opened["description"], "Somebody came in.");
    assert_eq!(opened["properties"]["fullName"]["description"], "Who it is.");
    assert_eq!(opened["required"], json!(["fullName"]));
    assert_eq!(opened["additionalProperties"], false);
    assert_eq!(schemas::<AccountEvent>()[1]["required"], json!(["AMOUNT"]));
}

#[test]
fn the_schema_is_that_of_the_bare_fields() {
    let schemas = schemas::<AccountEvent>();
    assert_eq!(schemas[2]["type"], "array");
    assert_eq!(schemas[3]["type"], "string");
    assert_eq!(schemas[4]["type"], "object");
}

#[test]
fn the_defaults_of_a_struct_are_those_of_the_event() {
    let rung = &schemas::<Rung>()[0];
    assert_eq!(rung["properties"]["how-often"]["default"], 0);
    assert_eq!(rung.get("required"), None);
}
