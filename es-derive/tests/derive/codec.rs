//! Each form of a variant goes through each codec and comes back.

use std::collections::BTreeMap;

use es_core::{Codec, ContentType, Event, NewEvent, World};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "shape")]
enum Shape {
    Unit,
    Newtype(u64),
    Option(Option<String>),
    Tuple(i8, String, Vec<u8>),
    Struct { id: u64, name: Option<String>, letters: [char; 2] },
    Map(BTreeMap<String, f64>),
}

fn shapes() -> Vec<Shape> {
    let letters = ['a', '\u{1f600}'];
    let name = Some("a \"quoted\" name".to_owned());
    vec![
        Shape::Unit,
        Shape::Newtype(u64::MAX),
        Shape::Option(None),
        Shape::Option(Some(String::new())),
        Shape::Tuple(-1, "two".into(), vec![0, 255]),
        Shape::Struct { id: 0, name: None, letters },
        Shape::Struct { id: 7, name, letters },
        Shape::Map(BTreeMap::from([("pi".into(), 3.25), (String::new(), -0.5)])),
    ]
}

fn codecs() -> Vec<Codec> {
    vec![
        Codec::Json,
        #[cfg(feature = "messagepack")]
        Codec::MessagePack,
    ]
}

#[test]
fn every_form_of_a_variant_comes_back() {
    for codec in codecs() {
        for shape in shapes() {
            let bytes = codec.encode(&shape).unwrap();
            let back: Shape = codec.decode(shape.index(), &bytes).unwrap();
            assert_eq!(back, shape, "{codec:?}: {bytes:?}");
        }
    }
}

#[test]
fn an_event_says_in_which_form_it_is() {
    for codec in codecs() {
        let event = NewEvent::encode(&Shape::Unit, World::real().event_id(), codec).unwrap();
        assert_eq!(event.content_type, codec.content_type());
        assert_eq!(Codec::of(&event.content_type).unwrap(), codec);
    }
    assert!(Codec::of(&ContentType::BYTES).is_err());
}

#[test]
fn a_payload_that_is_cut_or_goes_on_is_refused() {
    for codec in codecs() {
        for shape in shapes() {
            let bytes = codec.encode(&shape).unwrap().to_vec();
            let read = |bytes: &[u8]| codec.decode::<Shape>(shape.index(), bytes);
            let longer = [bytes.as_slice(), &bytes].concat();
            assert!(read(&longer).is_err(), "{codec:?}: {shape:?} twice");
            // A bare number that is cut is another number.
            if !matches!(shape, Shape::Newtype(_)) {
                assert!(read(&bytes[..bytes.len() - 1]).is_err(), "{codec:?}: {shape:?} cut");
            }
        }
    }
}
