//! What is not found any more.

use es_core::{Invalidation, Position};

use super::finding::{Cache, found, look, place, put};
use crate::contract::run::together;

pub(super) fn tags(tags: &[&str], position: u64) -> Invalidation {
    let tags = tags.iter().map(ToString::to_string).collect();
    Invalidation::Tags { tags, position: Position::new(position) }
}

pub(super) async fn invalidate(cache: &Cache, invalidation: Invalidation) {
    cache.invalidate(&invalidation).await.expect("an invalidation");
}

/// An answer goes with its tag.
pub async fn an_invalidated_answer_is_not_found(cache: &Cache) {
    let place = place("a", &["t"]);
    put(cache, &place, 1, "1").await;
    invalidate(cache, tags(&["t"], 2)).await;
    assert_eq!(found(cache, &place).await, None);
}

/// An answer goes with each of its tags.
pub async fn one_tag_of_several_is_enough(cache: &Cache) {
    for (n, tag) in ["t", "u", "v"].into_iter().enumerate() {
        let place = place(&n.to_string(), &["t", "u", "v"]);
        put(cache, &place, 1, "1").await;
        invalidate(cache, tags(&[tag, "w"], 2)).await;
        assert_eq!(found(cache, &place).await, None, "{tag}");
    }
}

/// Whatever bears other tags stays.
pub async fn other_tags_are_left_alone(cache: &Cache) {
    let names = ["t", "T", "t ", "t*", "t\u{1}u", "t:u", "{t}", "caf\u{e9}", "cafe\u{301}", "ta"];
    let long = "t".repeat(20_000);
    let names: Vec<_> = names.into_iter().chain(["t\0u", "t\0", "", &long]).collect();
    for name in &names {
        put(cache, &place(name, &[name]), 1, "1").await;
    }
    invalidate(cache, tags(&["t"], 2)).await;
    for name in &names[1..] {
        assert_eq!(found(cache, &place(name, &[name])).await, Some("1".into()), "{name:.20?}");
    }
}

/// Everything takes all answers away, also those without tags.
pub async fn everything_takes_all_answers_away(cache: &Cache) {
    let places = [place("a", &["t"]), place("b", &["u"]), place("c", &[])];
    for place in &places {
        put(cache, place, 1, "1").await;
    }
    invalidate(cache, Invalidation::Everything).await;
    for place in &places {
        assert_eq!(found(cache, place).await, None);
    }
}

/// An answer is looked for, its tag is invalidated, and then it is put.
pub async fn an_answer_that_was_being_made_when_its_tag_was_invalidated_is_never_found(
    cache: &Cache,
) {
    let place = place("a", &["t"]);
    let stamp = look(cache, &place).await.stamp;
    invalidate(cache, tags(&["t"], 2)).await;
    cache.put(&place, &stamp, Position::new(1), "1".into()).await.expect("no failure");
    assert_eq!(found(cache, &place).await, None);
    put(cache, &place, 2, "2").await;
    cache.put(&place, &stamp, Position::new(3), "1".into()).await.expect("no failure");
    assert_ne!(found(cache, &place).await, Some("1".into()));
}

/// The same, with everything.
pub async fn an_answer_that_was_being_made_when_everything_was_invalidated_is_never_found(
    cache: &Cache,
) {
    let place = place("a", &["t"]);
    let stamp = look(cache, &place).await.stamp;
    invalidate(cache, Invalidation::Everything).await;
    cache.put(&place, &stamp, Position::new(1), "1".into()).await.expect("no failure");
    assert_eq!(found(cache, &place).await, None);
}

/// An answer that was made afterwards is found.
pub async fn an_answer_that_was_made_after_the_invalidation_is_found(cache: &Cache) {
    let place = place("a", &["t"]);
    for round in 1..5 {
        invalidate(cache, tags(&["t"], round)).await;
        put(cache, &place, round, &round.to_string()).await;
        assert_eq!(found(cache, &place).await, Some(round.to_string().into()));
        invalidate(cache, Invalidation::Everything).await;
    }
}

/// Nobody has to care about a tag for it to change.
pub async fn a_tag_that_nobody_has_used_can_be_invalidated(cache: &Cache) {
    invalidate(cache, tags(&["never", "used"], 1)).await;
    invalidate(cache, tags(&[], 2)).await;
    put(cache, &place("a", &["never"]), 3, "3").await;
    assert_eq!(found(cache, &place("a", &["never"])).await, Some("3".into()));
}

/// Many put at once while the tag is invalidated: those who had begun before are
/// not found afterwards.
pub async fn of_64_answers_put_around_an_invalidation_none_that_was_begun_before_is_found(
    cache: &Cache,
) {
    let places: Vec<_> = (0..64).map(|n| place(&n.to_string(), &["t"])).collect();
    let mut begun = Vec::new();
    for place in &places {
        begun.push((place.clone(), look(cache, place).await.stamp));
    }
    let puts = begun.into_iter().map(|(place, stamp)| {
        let cache = cache.share();
        async move {
            cache.put(&place, &stamp, Position::new(1), "1".into()).await.expect("no failure");
        }
    });
    let shared = cache.share();
    let change = async move { shared.invalidate(&tags(&["t"], 2)).await.expect("an invalidation") };
    tokio::join!(together(puts), change);
    for place in &places {
        assert_eq!(found(cache, place).await, None);
    }
}
