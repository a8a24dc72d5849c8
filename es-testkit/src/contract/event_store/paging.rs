//! Reads are handed over by the page; each page says how far one has come.

use es_core::{EventStoreExt, Page, Position, Read, RecordedEvent, limits};
use futures_util::TryStreamExt;

use super::scene::{Log, category, name, positions, reversed, stream, to, with};
use crate::fake;

const PAGE: usize = limits::PAGE_EVENTS;

/// Lets the log have `count` events of two streams.
async fn full(log: &Log, count: usize) {
    let mut left = count;
    while left > 0 {
        let part = left.min(400);
        log.have(&stream(["a", "b"][left % 2]), part).await;
        left -= part;
    }
}

/// Lets the log have `count` events, of which every hundredth is rare.
async fn sparse(log: &Log, count: usize) {
    for start in (0..count).step_by(500) {
        let event = |n: usize| match n % 100 {
            99 => fake::event("rare").tag("kind", "rare").correlated("rare").build(),
            _ => fake::event("usual").build(),
        };
        let events = (start..(start + 500).min(count)).map(event);
        log.must(es_core::Batch::to(stream("a")).events(events)).await;
    }
}

/// A log of several pages is read wholly.
pub async fn more_than_a_page_is_read_wholly(log: &Log) {
    full(log, 2 * PAGE + 452).await;
    let all = log.find(Read::all()).await;
    assert_eq!(all.len(), 2 * PAGE + 452);
    super::scene::assert_in_order(&all);
}

/// No page is larger than [`limits::PAGE_EVENTS`].
pub async fn no_page_is_larger_than_the_bound(log: &Log) {
    full(log, 2 * PAGE + 10).await;
    for read in [Read::all(), Read::all().backwards(), category("thing")] {
        let pages = log.pages(read).await;
        assert!(pages.iter().all(|page| page.events.len() <= PAGE));
    }
}

/// Backwards over several pages is forwards reversed.
pub async fn several_pages_can_be_read_backwards(log: &Log) {
    full(log, 2 * PAGE + 10).await;
    let forwards = positions(&log.find(Read::all()).await);
    assert_eq!(positions(&log.find(Read::all().backwards()).await), reversed(forwards));
}

/// A stream of several pages is read wholly, in both directions.
pub async fn a_stream_of_several_pages_is_read_wholly(log: &Log) {
    for _ in 0..5 {
        log.have(&stream("a"), 500).await;
        log.have(&stream("b"), 10).await;
    }
    let found = log.of(&stream("a")).await;
    assert_eq!(super::scene::versions(&found), (1..=2_500).collect::<Vec<_>>());
    let back = log.find(Read::stream(&stream("a")).backwards()).await;
    assert_eq!(positions(&back), reversed(positions(&found)));
}

/// A limit at, below and above the size of a page.
pub async fn a_limit_around_the_size_of_a_page_is_exact(log: &Log) {
    full(log, PAGE + 100).await;
    for limit in [PAGE - 1, PAGE, PAGE + 1] {
        for read in [Read::all(), Read::all().backwards(), category("thing")] {
            assert_eq!(log.find(read.limit(limit as u64)).await.len(), limit);
        }
    }
}

/// A log of exactly one page, and one event more or less.
pub async fn a_log_around_the_size_of_a_page_is_read_wholly(log: &Log) {
    full(log, PAGE - 1).await;
    for count in [PAGE - 1, PAGE, PAGE + 1] {
        assert_eq!(log.find(Read::all()).await.len(), count);
        assert_eq!(log.find(Read::all().backwards()).await.len(), count);
        log.have(&stream("a"), 1).await;
    }
}

/// Rare events among many are all found, by each way of asking.
pub async fn rare_events_are_found_across_pages(log: &Log) {
    sparse(log, 3_000).await;
    let rare = || Read::all().types([name("rare")]);
    let tagged = || Read::all().tag(fake::tag("kind", "rare"));
    for read in
        [rare(), tagged(), Read::all().correlated("rare"), category("thing").types([name("rare")])]
    {
        assert_eq!(log.find(read.clone()).await.len(), 30);
        assert_eq!(log.find(read.clone().backwards()).await.len(), 30);
        assert_eq!(log.find(read.clone().limit(7)).await.len(), 7);
        assert_eq!(log.find(read.backwards().limit(7)).await.len(), 7);
    }
}

/// Large payloads make small pages, and none is lost between them.
pub async fn pages_of_large_payloads_are_read_wholly(log: &Log) {
    for n in 0..12_u8 {
        let event = || fake::event("film").payload(vec![n; 700_000]).build();
        log.must(es_core::Batch::to(stream("a")).events([event(), event()])).await;
    }
    let found = log.of(&stream("a")).await;
    let first: Vec<u8> = found.iter().map(|event| event.payload[0]).collect();
    assert_eq!(first, (0..12).flat_map(|n| [n, n]).collect::<Vec<_>>());
    assert_eq!(log.find(Read::all().backwards()).await.len(), 24);
}

/// How far one has come does not go back, and never passes an event that is
/// yet to be offered.
pub async fn through_passes_no_event_that_was_not_offered(log: &Log) {
    sparse(log, 3_000).await;
    for read in [Read::all(), Read::all().types([name("rare")]), Read::all().limit(1_500)] {
        let whole = log.find(read.clone()).await;
        let mut offered: Vec<RecordedEvent> = Vec::new();
        let mut before = Position::START;
        for page in log.pages(read).await {
            assert!(page.through >= before, "through goes forwards");
            before = page.through;
            offered.extend(page.events);
            let due = whole.iter().filter(|event| event.position <= before).count();
            assert_eq!(offered.len(), due, "at {before}");
        }
        assert_eq!(offered, whole);
    }
}

/// How far one has come covers the page's own events.
pub async fn through_covers_the_events_of_its_page(log: &Log) {
    full(log, PAGE + 300).await;
    for page in log.pages(Read::all()).await {
        assert!(page.events.last().is_none_or(|event| event.position <= page.through));
    }
}

/// A read that went to its end has come as far as the log.
pub async fn through_reaches_the_head_even_if_nothing_matches(log: &Log) {
    full(log, 700).await;
    let head = log.head().await.expect("a head");
    for read in [Read::all(), Read::all().types([name("never")]), category("never")] {
        let last = log.pages(read).await.pop();
        assert_eq!(last.map(|page| page.through), Some(head));
    }
}

/// What is not there yet cannot have been offered.
pub async fn through_never_passes_the_head(log: &Log) {
    let head = log.have(&stream("a"), 3).await.position;
    let reads = [Read::all(), Read::stream(&stream("a")), category("never")];
    for read in reads.map(|read| read.up_to(Position::new(u64::MAX))) {
        let pages = log.pages(read).await;
        assert!(pages.iter().all(|page| page.through <= head), "{pages:?}");
    }
}

/// A read with an upper bound has come no further than that.
pub async fn through_never_passes_the_upper_bound(log: &Log) {
    full(log, 30).await;
    let end = log.everything().await[9].position;
    for read in [Read::all(), Read::all().types([name("never")])] {
        let pages = log.pages(read.up_to(end)).await;
        assert_eq!(pages.last().map(|page| page.through), Some(end));
    }
}

/// A reader that is ahead of the log is not sent back.
pub async fn through_is_never_before_the_beginning_of_the_read(log: &Log) {
    let head = log.have(&stream("a"), 3).await.position;
    let after = Position::new(head.get() + 10);
    for read in [Read::all(), Read::stream(&stream("a")), category("never")] {
        let pages = log.pages(read.after(after)).await;
        assert!(pages.iter().all(|page| page.through >= after), "{pages:?}");
    }
}

/// Who goes on from any page's end misses nothing and sees nothing twice.
pub async fn a_read_can_go_on_from_the_end_of_any_page(log: &Log) {
    sparse(log, 2_600).await;
    for read in [Read::all(), Read::all().types([name("rare")])] {
        let whole = positions(&log.find(read.clone()).await);
        let mut seen = 0;
        for Page { events, through } in log.pages(read.clone()).await {
            seen += events.len();
            let rest = log.find(read.clone().after(through)).await;
            assert_eq!(positions(&rest), whole[seen..]);
        }
    }
}

/// Reads that are dropped half-way harm nobody.
pub async fn a_read_that_is_dropped_harms_nobody(log: &Log) {
    full(log, PAGE + 100).await;
    for _ in 0..50 {
        let mut pages = log.read(Read::all());
        let page = pages.try_next().await.expect("a page");
        assert!(page.is_some());
    }
    assert_eq!(log.find(Read::all()).await.len(), PAGE + 100);
}

/// What is appended while one reads neither shifts nor doubles what is read.
pub async fn appends_do_not_disturb_a_read_under_way(log: &Log) {
    full(log, 2 * PAGE).await;
    let mut pages = log.read(Read::all());
    let mut seen = Vec::new();
    while let Some(page) = pages.try_next().await.expect("a page") {
        seen.extend(page.events);
        log.must(with(&stream("new"), fake::event("late"))).await;
        log.must(to(&stream("a"), 3)).await;
    }
    let all = log.everything().await;
    assert!(seen.len() >= 2 * PAGE);
    assert_eq!(positions(&seen), positions(&all[..seen.len()]));
}
