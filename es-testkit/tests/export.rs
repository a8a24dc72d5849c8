//! What an export may look like, and what it may not.

use std::io::Cursor;

use es_core::{
    Batch, ContentType, EventStore, EventStoreExt, NewEvent, Page, Position, Read, RecordedEvent,
    StoreError, StoreErrorKind, chunks, export, memory::MemoryStore, read_export,
};
use es_testkit::fake;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use proptest::prelude::*;

/// Neither memory nor a stream of it waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing to wait for")
}

fn file_of(events: Vec<NewEvent>) -> Vec<u8> {
    let store = MemoryStore::new();
    for event in events {
        now(store.append(Batch::to(fake::stream("thing-a")).event(event))).expect("an append");
    }
    let chunks: Vec<_> = now(export(store.read(Read::all())).try_collect()).expect("an export");
    chunks.concat()
}

fn read(file: impl Into<Vec<u8>>) -> Result<Vec<RecordedEvent>, StoreError> {
    let pages = read_export(chunks(Cursor::new(file.into())));
    let pages: Vec<Page> = now(pages.try_collect())?;
    Ok(pages.into_iter().flat_map(|page| page.events).collect())
}

fn small() -> Vec<u8> {
    let raw = fake::event("thing.sent").content_type(ContentType::BYTES).payload("\0\u{7f}");
    file_of(vec![fake::event("thing.happened").tag("a", "b").correlated("c").build(), raw.build()])
}

/// The refusal of a file.
fn refusal(file: impl Into<Vec<u8>>) -> StoreError {
    let file = file.into();
    match read(file.clone()) {
        Err(refusal) => refusal,
        Ok(_) => panic!("it was taken: {}", String::from_utf8_lossy(&file)),
    }
}

#[test]
fn a_file_is_refused_with_any_byte_changed() {
    let file = small();
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        refusal(changed);
    }
}

#[test]
fn a_file_is_refused_wherever_it_was_cut() {
    let file = small();
    // The last line feed may be missing.
    for end in 0..file.len() - 1 {
        assert_eq!(refusal(&file[..end]).kind(), StoreErrorKind::Corrupt, "{end} bytes");
    }
    assert_eq!(read(&file[..file.len() - 1]).expect("all lines").len(), 2);
}

#[test]
fn a_file_is_refused_without_or_with_one_more_of_its_lines() {
    let file = small();
    let lines: Vec<_> = file.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..lines.len() {
        let without = [&lines[..at], &lines[at + 1..]].concat().concat();
        refusal(without);
        refusal([&lines[..=at], &lines[at..]].concat().concat());
    }
}

#[test]
fn a_refusal_names_the_line_and_says_what_to_do() {
    let file = String::from_utf8(small()).expect("text");
    let refusal = refusal(file.replace("application/octet-stream", "text\\u0000"));
    let message = refusal.to_string();
    assert!(message.starts_with("line 3 of the export is damaged: "), "{message}");
    assert!(message.ends_with("export anew"), "{message}");
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let file = String::from_utf8(small()).expect("text");
    let newer = file.replace("{\"gesta_export\":1}", "{\"gesta_export\":2}");
    assert_eq!(refusal(newer).kind(), StoreErrorKind::Schema);
}

#[test]
fn hostile_lines_are_refused() {
    let line = |fields: &str| {
        let good = r#""position":"1","tenant":"t","stream":"a-b","version":1,"id":"01b8dac5-b400-7000-8000-000000000002","recorded_at":"2026-11-26T12:00:00Z","type":"t","schema_version":1,"content_type":"c""#;
        format!("{{\"gesta_export\":1}}\n{{{good},{fields}}}\n{{\"events\":1,\"sha256\":\"\"}}\n")
    };
    for fields in [
        "\"json\":{},\"base64\":\"\"",
        "\"json\":null",
        "\"base64\":\"A\"",
        "\"base64\":\"%%%%\"",
        "\"base64\":\"\",\"other\":1",
        "\"base64\":\"\",\"position\":\"2\"",
        "\"base64\":\"\",\"tags\":[\"\"]",
        "\"base64\":\"\",\"append_id\":\"no id\"",
        "\"base64\":\"\",\"metadata\":7",
    ] {
        let message = refusal(line(fields)).to_string();
        assert!(message.starts_with("line 2 "), "{fields}: {message}");
    }
    // Only the sum is wrong.
    assert!(refusal(line("\"base64\":\"\"")).to_string().starts_with("line 3 "));
    for file in ["", "\n", "{}", "[", "\0", "{\"gesta_export\":1}\n\n", "{\"gesta_export\":-1}\n"] {
        assert_eq!(refusal(file).kind(), StoreErrorKind::Corrupt, "{file:?}");
    }
    refusal(format!("{{\"gesta_export\":1}}\n{}", "[".repeat(1_000_000)));
}

#[test]
fn a_line_without_an_end_is_not_gathered_for_ever() {
    let endless = stream::repeat_with(|| Ok(vec![b' '; 1024 * 1024].into()));
    let mut pages = read_export(endless);
    let refusal = now(pages.try_next()).expect_err("a line that is too long");
    assert!(refusal.to_string().starts_with("line 1 "), "{refusal}");
    assert!(now(pages.next()).is_none());
}

#[test]
fn a_source_that_fails_ends_the_export_without_its_last_line() {
    let failing = stream::once(async { Err(StoreError::new(StoreErrorKind::Busy, "busy")) });
    let mut bytes = export(failing.boxed());
    assert!(now(bytes.next()).expect("a header").is_ok());
    assert!(now(bytes.next()).expect("a failure").is_err());
    assert!(now(bytes.next()).is_none());
}

#[test]
fn the_longest_line_that_an_export_writes_is_read() {
    let payload = format!("\"{}\"", "\\".repeat(es_core::limits::PAYLOAD_BYTES - 2));
    let metadata = "\u{1}".repeat(es_core::limits::METADATA_BYTES);
    let event = fake::event("thing.sent").payload(payload).correlated(&metadata).build();
    let bytes = NewEvent { content_type: ContentType::BYTES, ..event.clone() };
    let found = read(file_of(vec![event.clone(), bytes.clone()])).expect("an export");
    let found: Vec<_> = found.into_iter().map(|event| event.into_new().1).collect();
    assert!(found == [event, bytes]);
}

proptest! {
    #[test]
    fn payloads_that_look_like_json_come_back(payload in r#"[ \t\r\n]{0,2}([\[\]{}",:a0nul\\.e-]|null|true|"[^"]{0,3}"|[0-9.]{1,9}){0,8}[ \r\n]{0,2}"#) {
        let event = fake::event("thing.sent").payload(payload).build();
        let found = read(file_of(vec![event.clone()])).expect("an export");
        prop_assert_eq!(&found[0].clone().into_new().1, &event);
        prop_assert_eq!(found[0].position, Position::new(1));
    }

    #[test]
    fn any_bytes_come_back(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let event = fake::event("thing.sent").payload(payload).build();
        let found = read(file_of(vec![event.clone()])).expect("an export");
        prop_assert_eq!(&found[0].clone().into_new().1, &event);
    }

    #[test]
    fn a_file_may_come_in_any_pieces(sizes in prop::collection::vec(1..300_usize, 1..9)) {
        let (file, mut at, mut pieces) = (small(), 0, Vec::new());
        for size in sizes.iter().cycle() {
            let end = (at + size).min(file.len());
            pieces.push(Ok(file[at..end].to_vec().into()));
            at = end;
            if at == file.len() { break }
        }
        let pages: Vec<_> = now(read_export(stream::iter(pieces)).try_collect::<Vec<_>>()).expect("pages");
        prop_assert_eq!(pages.iter().map(|page| page.events.len()).sum::<usize>(), 2);
    }
}

#[test]
fn an_export_of_nothing_has_two_lines() {
    let store = MemoryStore::new();
    assert!(now(store.events(Read::all())).expect("a read").is_empty());
    let file = file_of(vec![]);
    assert_eq!(file.iter().filter(|byte| **byte == b'\n').count(), 2);
    assert!(read(file).expect("an export").is_empty());
}
