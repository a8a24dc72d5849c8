//! What is left of a build, a model and a lease.

use std::time::Duration;

use es_core::{BuildChange, Builds, Changes, Name, Position, StoreErrorKind, Taking, Views};

use super::{HOUR, begun, every, everything, model, part, raw, row, said, server, views};

#[tokio::test]
async fn what_is_discarded_or_removed_leaves_no_row_behind() {
    let Some(server) = server() else { return };
    let (views, mut raw) = (views(&server).await, raw(&server).await);
    for build in [1, 2] {
        let part = begun(&views, build).await;
        let (tx, seen) = views.begin(&part).await.expect("a transaction");
        let changes = Changes::rows((0..2_000).map(row)).parked((0..2_000).map(row));
        views.commit(&part, tx, changes, seen, seen).await.expect("a commit");
    }
    assert_eq!(everything(&mut raw).await.len(), 9);
    views.change(BuildChange::discard(model(), 2)).await.expect("it goes");
    assert_eq!(everything(&mut raw).await.len(), 5);
    views.change(BuildChange::remove(model())).await.expect("it goes");
    let left: Vec<String> = said(&mut raw, &["HKEYS", "{gesta}:model:m"]).await;
    assert_eq!((everything(&mut raw).await.len(), left.len()), (1, 2), "{left:?}");
}

/// The model that the server has forgotten and its successor look alike: the same build,
/// part, epoch and position.
#[tokio::test]
async fn who_began_before_the_server_forgot_everything_is_fenced() {
    let Some(server) = server() else { return };
    let (views, mut raw) = (views(&server).await, raw(&server).await);
    let owner = Name::from_static("one");
    let mut late = None;
    for _ in 0..2 {
        let part = begun(&views, 1).await;
        let taken = views.take(&part, &owner, HOUR, Taking::IfFree).await.expect("an answer");
        let (tx, seen) = views.begin(&part).await.expect("a transaction");
        assert_eq!(taken, Some(seen));
        let Some((late, earlier)) = late.replace((tx, seen)) else {
            said::<String>(&mut raw, &["FLUSHALL"]).await;
            continue;
        };
        assert_eq!(earlier, seen);
        let rows = Changes::rows([row("late")]);
        let fenced = views.commit(&part, late, rows, seen, seen.at(Position::new(9))).await;
        assert_eq!(fenced.map_err(|error| error.kind()), Err(StoreErrorKind::Fenced));
        assert_eq!(every(&views).await, []);
    }
    let now = late.expect("a transaction of the second model");
    views.commit(&part(1), now.0, Changes::rows([row("b")]), now.1, now.1).await.expect("a commit");
    assert_eq!(every(&views).await, [row("b")]);
}

/// A part that was leased an hour hence, by a clock that was set back since, is leased for
/// no longer than the lease, and not at all if that is nothing.
#[tokio::test]
async fn a_clock_that_goes_back_lengthens_no_lease() {
    let Some(server) = server() else { return };
    let (views, mut raw) = (views(&server).await, raw(&server).await);
    let (model, [one, two]) = (begun(&views, 1).await.model, ["one", "two"].map(Name::from_static));
    let field = "part:00000000000000000001:0:1023";
    for (lease, is_free) in [(HOUR, false), (Duration::ZERO, true)] {
        views.take(&part(1), &one, lease, Taking::Anyway).await.expect("an answer");
        let written: String = said(&mut raw, &["HGET", "{gesta}:model:m", field]).await;
        let mut words: Vec<_> = written.split(' ').map(str::to_owned).collect();
        let at: u64 = words[3].parse().expect("a time");
        words[3] = (at + 3_600_000).to_string();
        said::<u64>(&mut raw, &["HSET", "{gesta}:model:m", field, &words.join(" ")]).await;
        let builds = views.builds(std::slice::from_ref(&model)).await.expect("builds");
        assert_eq!(builds[0].parts[0].leased, lease);
        let taken = views.take(&part(1), &two, HOUR, Taking::IfFree).await.expect("an answer");
        assert_eq!(taken.is_some(), is_free, "{lease:?}");
    }
}
