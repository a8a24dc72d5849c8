use crate::EventType;

/// The JSON Schema of one type of event.
///
/// See [`EventSchemas`] for an example.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EventSchema {
    /// The type.
    pub event_type: &'static EventType,
    /// The schema of its payload.
    pub schema: schemars::Schema,
}

impl EventSchema {
    /// The schema of this type's payload.
    pub fn new(event_type: &'static EventType, schema: schemars::Schema) -> Self {
        Self { event_type, schema }
    }
}

/// Events whose payloads have a JSON Schema; the feature `schema` makes
/// `#[derive(Event)]` write it.
///
/// ```
/// use es_core::{Event, EventSchemas};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "account")]
/// enum AccountEvent { Deposited { amount: u64 } }
///
/// let schemas = AccountEvent::schemas();
/// assert_eq!(schemas[0].event_type.name, "account.deposited");
/// assert_eq!(schemas[0].schema.as_value()["required"][0], "amount");
/// ```
pub trait EventSchemas {
    /// The schema of each type, in the order of [`Event::TYPES`](crate::Event::TYPES).
    fn schemas() -> Vec<EventSchema>;
}
