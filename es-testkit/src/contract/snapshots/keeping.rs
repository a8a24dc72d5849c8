//! Which snapshot is kept.

use es_core::{ContentType, Name, Snapshot, Snapshots, StreamId, Version};

use crate::{
    contract::{Site, run::together},
    fake,
};

type Kept = Site<dyn Snapshots>;

fn ada() -> StreamId {
    fake::stream("account-ada")
}

fn at(version: u64, fingerprint: u64) -> Snapshot {
    let state = format!("{{\"v\":{version},\"f\":{fingerprint}}}");
    Snapshot::new(Version::new(version), fingerprint, ContentType::JSON, state)
}

async fn save(kept: &Kept, stream: &StreamId, snapshot: Snapshot) {
    kept.save(stream, snapshot).await.expect("a place for a snapshot");
}

async fn load(kept: &Kept, stream: &StreamId) -> Option<Snapshot> {
    kept.load(stream).await.expect("a look at the snapshots")
}

/// A stream without a snapshot has none, and that is no failure.
pub async fn a_stream_without_a_snapshot_has_none(kept: &Kept) {
    assert_eq!(load(kept, &ada()).await, None);
}

/// What was saved is loaded, and intact.
pub async fn a_saved_snapshot_is_loaded(kept: &Kept) {
    save(kept, &ada(), at(7, 1)).await;
    let found = load(kept, &ada()).await.expect("a snapshot");
    assert!(found.is_intact());
    assert_eq!(found, at(7, 1));
}

/// A newer version takes the place of an older one.
pub async fn a_newer_version_replaces_an_older_one(kept: &Kept) {
    save(kept, &ada(), at(7, 1)).await;
    save(kept, &ada(), at(9, 1)).await;
    assert_eq!(load(kept, &ada()).await, Some(at(9, 1)));
}

/// An older version does not come back (D14).
pub async fn an_older_version_does_not_replace_a_newer_one(kept: &Kept) {
    save(kept, &ada(), at(9, 1)).await;
    save(kept, &ada(), at(7, 1)).await;
    assert_eq!(load(kept, &ada()).await, Some(at(9, 1)));
}

/// The first snapshot of a version stays.
pub async fn the_same_version_does_not_replace_itself(kept: &Kept) {
    let other = Snapshot::new(Version::new(9), 1, ContentType::JSON, "other");
    save(kept, &ada(), at(9, 1)).await;
    save(kept, &ada(), other).await;
    assert_eq!(load(kept, &ada()).await, Some(at(9, 1)));
}

/// A snapshot of another shape takes the place, older or not (D11).
pub async fn another_fingerprint_replaces_whatever_is_there(kept: &Kept) {
    save(kept, &ada(), at(9, 1)).await;
    save(kept, &ada(), at(3, 2)).await;
    assert_eq!(load(kept, &ada()).await, Some(at(3, 2)));
    save(kept, &ada(), at(3, 3)).await;
    assert_eq!(load(kept, &ada()).await, Some(at(3, 3)));
}

/// Streams do not meet.
pub async fn streams_are_apart(kept: &Kept) {
    let names = [
        "account-a",
        "account-A",
        "account-%",
        "account-_",
        "account-caf\u{e9}",
        "account-cafe\u{301}",
        "order-a",
    ];
    for (n, name) in (1..).zip(names) {
        save(kept, &fake::stream(name), at(n, 1)).await;
    }
    for (n, name) in (1..).zip(names) {
        assert_eq!(load(kept, &fake::stream(name)).await, Some(at(n, 1)), "{name}");
    }
}

/// Tenants do not meet.
pub async fn tenants_are_apart(kept: &Kept) {
    let theirs = ada().of(fake::tenant("acme"));
    save(kept, &ada(), at(9, 1)).await;
    assert_eq!(load(kept, &theirs).await, None);
    save(kept, &theirs, at(3, 1)).await;
    assert_eq!(load(kept, &ada()).await, Some(at(9, 1)));
    assert_eq!(load(kept, &theirs).await, Some(at(3, 1)));
}

/// Any bytes are a state, and any form.
pub async fn any_state_round_trips(kept: &Kept) {
    let all: Vec<u8> = (0..=255).collect();
    for (n, state) in (1..).zip([vec![], vec![0], all.clone(), all.repeat(5_000)]) {
        let form = ContentType::new(Name::new("application/x-state").expect("a name"));
        let snapshot = Snapshot::new(Version::new(n), u64::MAX, form, state);
        save(kept, &ada(), snapshot.clone()).await;
        assert_eq!(load(kept, &ada()).await, Some(snapshot));
    }
}

/// A fingerprint has all its bits, and so has a checksum.
pub async fn fingerprints_keep_all_their_bits(kept: &Kept) {
    for fingerprint in [0, 1, u64::MAX, 1 << 63, i64::MAX as u64] {
        save(kept, &ada(), at(1, fingerprint)).await;
        let found = load(kept, &ada()).await.expect("a snapshot");
        assert_eq!(found.fingerprint, fingerprint);
        assert!(found.is_intact());
    }
}

/// A damaged snapshot is handed over as it is, so that its damage is seen
/// (D13).
pub async fn damage_is_not_hidden(kept: &Kept) {
    let mut damaged = at(7, 1);
    damaged.state = "x".into();
    save(kept, &ada(), damaged.clone()).await;
    let found = load(kept, &ada()).await.expect("a snapshot");
    assert_eq!(found, damaged);
    assert!(!found.is_intact());
}

/// Of many saved at once the newest is there in the end.
pub async fn of_64_saved_at_once_the_newest_is_kept(kept: &Kept) {
    let save = |n: u64| {
        let kept = kept.share();
        async move { kept.save(&ada(), at(n * 7 % 64 + 1, 1)).await.expect("a place") }
    };
    together((0..64).map(save)).await;
    assert_eq!(load(kept, &ada()).await, Some(at(64, 1)));
}
