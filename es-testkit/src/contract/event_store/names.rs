//! Names are compared byte by byte, and mean nothing to the store (S15, S19).

use std::collections::BTreeSet;

use es_core::{Batch, Claim, Criteria, Name, Position, Read, StreamId, Tag, Tenant};

use super::scene::{Log, category, name, stream, to, with};
use crate::fake;

/// Names that mean something to some database, pattern, shell or script.
pub(in crate::contract) const HOSTILE: &[&str] = &[
    "%",
    "_",
    "a%",
    "a_c",
    "abc",
    "*",
    "?",
    "a*",
    "a?c",
    "[a]",
    "[!a]",
    "a[b]c",
    "\\",
    "\\%",
    "'",
    "''",
    "\"",
    "`",
    "'; DROP TABLE events; --",
    "\" OR \"\"=\"",
    "$1",
    "?1",
    ":name",
    "{}",
    "${x}",
    "#{x}",
    "%s",
    "%00",
    "..",
    "../..",
    "/",
    "a/b",
    "~",
    "|",
    "a|b",
    "a:b",
    "a.b",
    "a,b",
    "a;b",
    "a b",
    " a",
    "a ",
    "  ",
    "NULL",
    "null",
    "true",
    "0",
    "-0",
    "1e5",
    "A",
    "a",
    "\u{e9}",
    "e\u{301}",
    "\u{df}",
    "SS",
    "\u{130}",
    "i\u{307}",
    "\u{2028}",
    "\u{200b}",
    "a\u{200b}",
    "\u{feff}",
    "\u{202e}a",
    "\u{1f980}",
    "\u{1f468}\u{200d}\u{1f469}",
    "\u{ffff}",
    "\u{10ffff}",
    "$all",
    "$ce-a",
    "@",
    "<script>",
    "&lt;",
    "{a}b",
    "kit:{x}:y",
    ">",
    "a>b",
];

/// 255 bytes of multi-byte letters.
fn longest() -> String {
    "\u{20ac}".repeat(85)
}

/// A stream of any hostile name is a stream like any other.
pub async fn streams_of_any_name_are_apart(log: &Log) {
    for (n, id) in HOSTILE.iter().enumerate() {
        log.have(&stream(id), 1 + n % 3).await;
    }
    for (n, id) in HOSTILE.iter().enumerate() {
        let found = log.of(&stream(id)).await;
        assert_eq!(found.len(), 1 + n % 3, "events of {id:?}");
        assert!(found.iter().all(|event| event.stream.id() == *id));
    }
}

/// A category of any hostile name is a category like any other.
pub async fn categories_of_any_name_are_apart(log: &Log) {
    let categories: Vec<_> = HOSTILE.iter().filter(|one| !one.contains('-')).collect();
    for one in &categories {
        log.have(&StreamId::new(one, "x").expect("a stream"), 2).await;
    }
    for one in categories {
        let found = log.find(category(one)).await;
        assert_eq!(found.len(), 2, "events of {one:?}");
        assert!(found.iter().all(|event| event.stream.category() == *one));
    }
}

/// Where the category ends is decided by the first hyphen.
pub async fn hyphens_belong_to_the_id(log: &Log) {
    for full in ["a-b", "a-b-c", "a--b", "a-b-", "ab-c"] {
        log.have(&fake::stream(full), 1).await;
    }
    assert_eq!(log.find(category("a")).await.len(), 4);
    assert_eq!(log.of(&fake::stream("a--b")).await.len(), 1);
    assert_eq!(log.find(category("ab")).await.len(), 1);
}

/// A type of any hostile name is a type like any other.
pub async fn types_of_any_name_are_apart(log: &Log) {
    let types: Vec<_> = HOSTILE.iter().filter(|one| !one.starts_with('$')).collect();
    for one in &types {
        log.must(with(&stream("a"), fake::event(one))).await;
    }
    for one in types {
        let found = log.find(Read::all().types([name(one)])).await;
        assert_eq!(found.len(), 1, "events of {one:?}");
        assert_eq!(found[0].event_type, **one);
    }
}

/// A tag of any hostile value is a tag like any other.
pub async fn tags_of_any_value_are_apart(log: &Log) {
    for one in HOSTILE {
        log.must(with(&stream("a"), fake::event("x").tag("k", one))).await;
    }
    for one in HOSTILE {
        let found = log.find(Read::all().tag(fake::tag("k", one))).await;
        assert_eq!(found.len(), 1, "events of {one:?}");
        assert_eq!(found[0].tags, [fake::tag("k", one)]);
    }
}

/// Criteria take a name as it is, and never as a pattern.
pub async fn criteria_take_names_as_they_are(log: &Log) {
    for one in HOSTILE {
        log.must(with(&stream("a"), fake::event("x").tag("k", one))).await;
    }
    for one in HOSTILE {
        let criteria = Criteria::tag(fake::tag("k", one));
        assert_eq!(log.find(Read::matching(criteria)).await.len(), 1, "events of {one:?}");
    }
    for never in ["a%c", "ab", "a_", "*c", "[abc]"] {
        let free = Criteria::tag(fake::tag("k", never)).or(Criteria::types([name(never)]));
        log.must(to(&stream("b"), 1).unless(free, Position::START)).await;
    }
}

/// A claim of any hostile key is a claim like any other.
pub async fn claims_of_any_key_are_apart(log: &Log) {
    for (n, key) in HOSTILE.iter().enumerate() {
        let stream = stream(&n.to_string());
        let claim = Claim::take("scope", key, stream.clone()).expect("a claim");
        log.must(to(&stream, 1).claim(claim)).await;
    }
    for key in HOSTILE {
        let claim = Claim::take("scope", key, stream("late")).expect("a claim");
        assert!(log.append(to(&stream("late"), 1).claim(claim)).await.is_err(), "{key:?}");
    }
}

/// A tenant of any hostile name is a tenant like any other.
pub async fn tenants_of_any_name_are_apart(log: &Log) {
    for one in HOSTILE {
        log.have(&stream("a").of(fake::tenant(one)), 2).await;
    }
    for one in HOSTILE {
        let found = log.find(Read::all().of(fake::tenant(one))).await;
        assert_eq!(found.len(), 2, "events of {one:?}");
        assert!(found.iter().all(|event| event.stream.tenant().as_str() == *one));
    }
    let all = log.everything().await;
    let tenants: BTreeSet<_> = all.iter().map(|event| event.stream.tenant().clone()).collect();
    assert_eq!(tenants.len(), HOSTILE.len());
}

/// A correlation id of any hostile text is one like any other.
pub async fn correlations_of_any_text_are_apart(log: &Log) {
    let texts = || HOSTILE.iter().copied().chain(["", "\n", "\0", "a\0b", "\u{7}"]);
    for one in texts() {
        log.must(with(&stream("a"), fake::event("x").correlated(one))).await;
    }
    for one in texts() {
        let found = log.find(Read::all().correlated(one)).await;
        assert_eq!(found.len(), 1, "events of {one:?}");
    }
}

/// A letter and its accent are two ways to write one letter, and two names.
pub async fn names_that_look_alike_are_apart(log: &Log) {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    for (id, count) in [(composed, 1), (decomposed, 2)] {
        let event = || fake::event(id).tag("t", id).build();
        log.must(Batch::to(stream(id)).events((0..count).map(|_| event()))).await;
    }
    for (id, count) in [(composed, 1), (decomposed, 2)] {
        assert_eq!(log.of(&stream(id)).await.len(), count);
        assert_eq!(log.find(Read::all().types([name(id)])).await.len(), count);
        assert_eq!(log.find(Read::all().tag(fake::tag("t", id))).await.len(), count);
    }
}

/// Upper and lower case are apart.
pub async fn upper_and_lower_case_are_apart(log: &Log) {
    for (n, id) in ["case", "Case", "CASE"].iter().enumerate() {
        let event = fake::event(id).tag("t", id).build();
        let other = StreamId::new(id, n).expect("a stream");
        log.must(Batch::to(stream(id)).event(event)).await;
        log.have(&other, 1).await;
    }
    for id in ["case", "Case", "CASE"] {
        assert_eq!(log.of(&stream(id)).await.len(), 1);
        assert_eq!(log.find(category(id)).await.len(), 1);
        assert_eq!(log.find(Read::all().types([name(id)])).await.len(), 1);
        assert_eq!(log.find(Read::all().tag(fake::tag("t", id))).await.len(), 1);
    }
}

/// 255 bytes are 255 bytes, however few letters they are.
pub async fn the_longest_names_round_trip(log: &Log) {
    let id: String = longest().chars().take(83).collect();
    let whole = StreamId::new("\u{20ac}", &id).expect("253 bytes");
    let whole = whole.of(Tenant::new(longest()).expect("255 bytes"));
    let tag = Tag::parse(longest()).expect("255 bytes");
    let mut event = fake::event(&longest()).build();
    event.tags.push(tag.clone());
    log.must(Batch::to(whole.clone()).event(event)).await;
    let read = Read::all().of(whole.tenant().clone()).tag(tag).types([name(&longest())]);
    assert_eq!(log.find(read).await[0].stream, whole);
}

/// Control characters make no name: no store ever sees one.
pub async fn control_characters_make_no_name(log: &Log) {
    for text in ["\0", "a\0b", "\n", "a\r\n", "\t", "\u{7f}", "\u{85}", "\u{1b}[31m"] {
        assert!(Name::new(text).is_err(), "{text:?}");
        assert!(Tenant::new(text).is_err(), "{text:?}");
        assert!(Tag::new("k", text).is_err(), "{text:?}");
        assert!(StreamId::new("thing", text).is_err(), "{text:?}");
        assert!(Claim::take("scope", text, stream("a")).is_err(), "{text:?}");
    }
    log.assert_holds(0).await;
}
