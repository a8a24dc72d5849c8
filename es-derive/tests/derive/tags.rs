use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "course")]
enum CourseEvent {
    Announced {
        #[tag]
        course: String,
        title: String,
    },
    Enrolled {
        #[tag]
        #[tag(key = "room")]
        course: u32,
        #[tag(key = "person")]
        student: Option<String>,
        #[tag]
        r#type: Vec<Option<char>>,
    },
    Moved(#[tag(key = "from")] u8, u8, #[tag(key = "to")] std::option::Option<u8>),
    Closed,
}

#[derive(Serialize, Deserialize, Event)]
#[event(name = "seat.taken")]
struct SeatTaken(#[tag(key = "seat")] String);

fn tags(event: &impl Event) -> Vec<String> {
    let tags = event.tags().expect("the values are short");
    tags.iter().map(ToString::to_string).collect()
}

#[test]
fn a_tag_is_the_name_of_the_field_and_its_value() {
    let event = CourseEvent::Announced { course: "rust".into(), title: "Rust".into() };
    assert_eq!(tags(&event), ["course:rust"]);
}

#[test]
fn an_option_gives_a_tag_if_it_is_some_and_a_vec_one_for_each_item() {
    let full = CourseEvent::Enrolled {
        course: 7,
        student: Some("ada".into()),
        r#type: vec![Some('a'), None, Some('b')],
    };
    assert_eq!(tags(&full), ["course:7", "room:7", "person:ada", "type:a", "type:b"]);

    let bare = CourseEvent::Enrolled { course: 7, student: None, r#type: vec![] };
    assert_eq!(tags(&bare), ["course:7", "room:7"]);
}

#[test]
fn fields_of_tuples_have_tags_too() {
    assert_eq!(tags(&CourseEvent::Moved(1, 2, Some(3))), ["from:1", "to:3"]);
    assert_eq!(tags(&SeatTaken("4b".into())), ["seat:4b"]);
}

#[test]
fn a_variant_without_tag_fields_has_no_tags() {
    assert!(tags(&CourseEvent::Closed).is_empty());
}

#[test]
fn a_value_that_makes_no_tag_is_an_error_and_no_tag_is_lost_in_silence() {
    assert!(SeatTaken("x".repeat(256)).tags().is_err());
    assert!(SeatTaken("bell\u{7}".into()).tags().is_err());
}
