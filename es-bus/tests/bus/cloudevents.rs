//! Messages in the words of CloudEvents, there and back.

use bytes::Bytes;
use chrono::DateTime;
use es_bus::cloudevents::{self, CloudEventError};
use es_core::{ContentType, Message, Metadata, Name, Tenant};

fn whole() -> Message {
    let metadata = Metadata::new()
        .correlation_id("c")
        .causation_id("b")
        .user_id("ada")
        .source("shop")
        .traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .with("region", "eu")
        .with("Not an Attribute", "\u{1f980}\n")
        .with("data", "not the data");
    let kind = Name::new("order placed \u{1f980}").unwrap();
    let mut message = Message::new("7", kind, ContentType::BYTES, vec![0, 159, 146, 150])
        .of(Tenant::new("acme").unwrap())
        .with_key("k\r\n")
        .with_metadata(metadata)
        .expiring(DateTime::from_timestamp(4_000_000_000, 123_456_000).unwrap());
    message.schema_version = 7;
    message.time = DateTime::from_timestamp(1_700_000_000, 999_999_000);
    message
}

#[test]
fn a_whole_message_comes_back_as_it_was() {
    let message = whole();
    assert_eq!(cloudevents::from_json(&cloudevents::to_json(&message)).unwrap(), message);
}

/// JSON stands in the event as it is, byte by byte, and what only claims to be JSON does not
/// break it.
#[test]
fn any_payload_comes_back_as_it_was() {
    let kind = Name::from_static("order.placed");
    for payload in ["{\"a\": 1.0}", "null", "\"\\u0000\"", "1e400", "", "{", "{}\n", "\u{feff}{}"] {
        let message = Message::new("7", kind.clone(), ContentType::JSON, payload);
        let json = cloudevents::to_json(&message);
        assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&json).is_ok());
        let back = cloudevents::from_json(&json).unwrap();
        assert_eq!(back, message, "{payload:?}");
    }
}

/// An event of somebody else, from the specification.
#[test]
fn an_event_of_somebody_else_is_read() {
    let json = br#"{
        "specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext",
        "subject": null, "id": "C234-1234-1234", "time": "2018-04-05T17:31:00+02:00",
        "comexampleextension1": "value", "comexampleothervalue": 5,
        "datacontenttype": "application/vnd.apache.thrift.binary", "data_base64": "AAEC"
    }"#;
    let message = cloudevents::from_json(json).unwrap();
    assert_eq!((&*message.id, message.kind.as_str()), ("C234-1234-1234", "com.example.someevent"));
    assert_eq!(message.payload, Bytes::from_static(&[0, 1, 2]));
    assert_eq!(message.time, DateTime::from_timestamp(1_522_942_260, 0));
    assert_eq!(message.metadata.fields().source.as_deref(), Some("/mycontext"));
    assert_eq!(message.metadata.get("comexampleothervalue"), Some("5"));
    assert_eq!(message.metadata.get("subject"), None);
}

/// As the JSON format of CloudEvents 1.0 has it (section 3.1.1).
#[test]
fn data_that_is_a_text_is_that_text_unless_the_event_is_json() {
    let read = |content_type: &str| {
        let json = format!(
            r#"{{ "specversion": "1.0", "type": "some.event", "source": "/a", "id": "1",
                "datacontenttype": "{content_type}", "data": "<much wow=\"xml\"/>" }}"#
        );
        String::from_utf8(cloudevents::from_json(json.as_bytes()).unwrap().payload.to_vec())
            .unwrap()
    };
    assert_eq!(read("application/xml"), r#"<much wow="xml"/>"#);
    for json in ["application/json", "application/vnd.some+json; charset=utf-8"] {
        assert_eq!(read(json), r#""<much wow=\"xml\"/>""#);
    }
}

#[test]
fn what_is_no_event_is_refused_with_what_it_should_be() {
    for (json, attribute) in [
        (r#"{"id":"1","source":"x","type":"y"}"#, "specversion"),
        (r#"{"specversion":"1.0","source":"x","type":"y"}"#, "id"),
        (r#"{"specversion":"1.0","id":"1","source":"","type":"y"}"#, "source"),
        (r#"{"specversion":"1.0","id":"1","source":"x"}"#, "type"),
        (r#"{"specversion":"1.0","id":"1","source":"x","type":"y","time":"noon"}"#, "time"),
        (
            r#"{"specversion":"1.0","id":"1","source":"x","type":"y","data_base64":"*"}"#,
            "data_base64",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"x","type":"y","schemaversion":"-1"}"#,
            "schemaversion",
        ),
    ] {
        match cloudevents::from_json(json.as_bytes()) {
            Err(CloudEventError::Attribute { attribute: named, .. }) => {
                assert_eq!(named, attribute)
            }
            other => panic!("{other:?} of {json}"),
        }
    }
    assert!(matches!(cloudevents::from_json(b"[]"), Err(CloudEventError::Json(_))));
}
