//! Rows: how they are found, in which order, by the page.

use bytes::Bytes;
use es_core::{Checkpoint, Name, Position, Row, RowId, Rows, Tenant, Views};

use super::ReadModels;
use crate::{contract::Site, fake};

pub(super) type Models<V> = Site<ReadModels<V>>;

pub(super) fn model(name: &str) -> Name {
    Name::new(name).expect("a name")
}

pub(super) fn id(key: &str) -> RowId {
    RowId::new(Tenant::default(), key)
}

pub(super) fn row(key: &str, value: &str) -> Row {
    Row { id: id(key), value: Some(Bytes::copy_from_slice(value.as_bytes())) }
}

pub(super) fn deleted(key: &str) -> Row {
    Row { id: id(key), value: None }
}

/// Writes rows to a read model, under whatever checkpoint it has.
pub(super) async fn put<V: Views>(models: &Models<V>, name: &str, rows: Vec<Row>) -> Checkpoint {
    let (tx, seen) = models.begin(&model(name)).await.expect("a transaction");
    let next = seen.at(Position::new(seen.position.get() + 1));
    models.commit(&model(name), tx, rows, seen, next).await.expect("a commit");
    next
}

pub(super) async fn all<V: Views>(models: &Models<V>, name: &str) -> Vec<Row> {
    page(models, name, None, 10_000).await
}

async fn page<V: Views>(
    models: &Models<V>,
    name: &str,
    after: Option<&str>,
    limit: usize,
) -> Vec<Row> {
    let after = after.map(ToOwned::to_owned);
    let rows = Rows::Of { tenant: Tenant::default(), after, limit };
    models.rows(&model(name), rows).await.expect("rows")
}

fn keys(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.id.key.as_str()).collect()
}

/// A read model that nobody wrote has no rows.
pub async fn an_unknown_model_has_no_rows<V: Views>(models: &Models<V>) {
    assert!(all(models, "balances").await.is_empty());
    let these = Rows::These(vec![id("ada")]);
    assert!(models.rows(&model("balances"), these).await.expect("rows").is_empty());
}

/// What was committed is found.
pub async fn a_committed_row_is_found<V: Views>(models: &Models<V>) {
    put(models, "balances", vec![row("ada", "7")]).await;
    assert_eq!(all(models, "balances").await, [row("ada", "7")]);
}

/// A row takes the place of the one with its key.
pub async fn a_row_replaces_the_one_with_its_key<V: Views>(models: &Models<V>) {
    put(models, "balances", vec![row("ada", "7"), row("bob", "1")]).await;
    put(models, "balances", vec![row("ada", "8")]).await;
    assert_eq!(all(models, "balances").await, [row("ada", "8"), row("bob", "1")]);
}

/// A row without a value is deleted, there or not.
pub async fn a_row_without_a_value_is_deleted<V: Views>(models: &Models<V>) {
    put(models, "balances", vec![row("ada", "7"), row("bob", "1")]).await;
    put(models, "balances", vec![deleted("ada"), deleted("never")]).await;
    assert_eq!(all(models, "balances").await, [row("bob", "1")]);
    put(models, "balances", vec![row("ada", "2")]).await;
    assert_eq!(all(models, "balances").await.len(), 2);
}

/// The last of several rows with one key in a commit counts.
pub async fn the_last_row_of_a_key_counts<V: Views>(models: &Models<V>) {
    let rows =
        vec![row("ada", "1"), deleted("ada"), row("ada", "2"), row("bob", "1"), deleted("bob")];
    put(models, "balances", rows).await;
    assert_eq!(all(models, "balances").await, [row("ada", "2")]);
}

/// These rows, in the order of their ids; those that are not there are left
/// out.
pub async fn these_rows_are_found_in_the_order_of_their_ids<V: Views>(models: &Models<V>) {
    put(models, "m", vec![row("b", "2"), row("a", "1"), row("d", "4"), row("c", "3")]).await;
    let these = ["d", "never", "a", "c"].map(id).to_vec();
    let found = models.rows(&model("m"), Rows::These(these)).await.expect("rows");
    assert_eq!(found, [row("a", "1"), row("c", "3"), row("d", "4")]);
    let none = models.rows(&model("m"), Rows::These(vec![])).await.expect("rows");
    assert!(none.is_empty());
}

/// Keys are in the order of their bytes.
pub async fn keys_are_in_the_order_of_their_bytes<V: Views>(models: &Models<V>) {
    let mut due = vec![
        "",
        " ",
        "!",
        "%",
        "0",
        "10",
        "9",
        "A",
        "Z",
        "_",
        "a",
        "a b",
        "aa",
        "b",
        "\u{e9}",
        "e\u{301}",
        "\u{df}",
        "\u{10ffff}",
        "\u{ffff}",
        "\u{1f980}",
        "ab\0c",
        "ab",
    ];
    put(models, "m", due.iter().map(|key| row(key, "x")).collect()).await;
    due.sort_unstable();
    assert_eq!(keys(&all(models, "m").await), due);
}

/// By the page: each begins after the last key of the one before.
pub async fn rows_come_by_the_page<V: Views>(models: &Models<V>) {
    let rows = (0..25).map(|n| row(&format!("{n:02}"), "x")).collect();
    put(models, "m", rows).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let found = page(models, "m", after.as_deref(), 10).await;
        assert!(found.len() <= 10);
        let Some(last) = found.last() else { break };
        after = Some(last.id.key.clone());
        seen.extend(found);
    }
    assert_eq!(seen, all(models, "m").await);
    assert_eq!(seen.len(), 25);
}

/// A page may begin after a key that is not there.
pub async fn a_page_may_begin_after_a_key_that_is_not_there<V: Views>(models: &Models<V>) {
    put(models, "m", vec![row("a", "1"), row("c", "3")]).await;
    assert_eq!(keys(&page(models, "m", Some("b"), 10).await), ["c"]);
    assert_eq!(keys(&page(models, "m", Some("c"), 10).await), [""; 0]);
    assert_eq!(page(models, "m", None, 0).await.len(), 0);
}

/// Tenants do not meet: not by key, not by the page.
pub async fn tenants_are_apart<V: Views>(models: &Models<V>) {
    let theirs = |key: &str, value: &str| {
        let id = RowId::new(fake::tenant("acme"), key);
        Row { id, value: Some(Bytes::copy_from_slice(value.as_bytes())) }
    };
    put(models, "m", vec![row("ada", "7"), theirs("ada", "9"), theirs("bob", "1")]).await;
    assert_eq!(all(models, "m").await, [row("ada", "7")]);
    let of_them = Rows::Of { tenant: fake::tenant("acme"), after: None, limit: 10 };
    let found = models.rows(&model("m"), of_them).await.expect("rows");
    assert_eq!(found, [theirs("ada", "9"), theirs("bob", "1")]);
    put(models, "m", vec![deleted("ada")]).await;
    let both = Rows::These(vec![id("ada"), theirs("ada", "").id]);
    let found = models.rows(&model("m"), both).await.expect("rows");
    assert_eq!(found, [theirs("ada", "9")]);
}

/// Rows of several tenants come in the order of tenant and key.
pub async fn these_rows_of_several_tenants_are_in_order<V: Views>(models: &Models<V>) {
    let ids: Vec<_> = [("b", "x"), ("a", "y"), ("a", "x"), ("b", "a")]
        .map(|(tenant, key)| RowId::new(fake::tenant(tenant), key))
        .to_vec();
    let rows = ids.iter().map(|id| Row { id: id.clone(), value: Some("v".into()) }).collect();
    put(models, "m", rows).await;
    let found = models.rows(&model("m"), Rows::These(ids.clone())).await.expect("rows");
    let mut due = ids;
    due.sort_unstable();
    assert_eq!(found.into_iter().map(|row| row.id).collect::<Vec<_>>(), due);
}

/// Read models do not meet.
pub async fn models_are_apart<V: Views>(models: &Models<V>) {
    let names = ["a", "A", "a%", "_", "caf\u{e9}", "cafe\u{301}"];
    for (n, name) in names.iter().enumerate() {
        put(models, name, vec![row("k", &n.to_string())]).await;
    }
    for (n, name) in names.iter().enumerate() {
        assert_eq!(all(models, name).await, [row("k", &n.to_string())], "{name}");
    }
}

/// Any bytes are a value.
pub async fn any_value_round_trips<V: Views>(models: &Models<V>) {
    let every: Vec<u8> = (0..=255).collect();
    for value in [vec![], vec![0], every.clone(), every.repeat(1_000)] {
        let row = Row { id: id("k"), value: Some(value.into()) };
        put(models, "m", vec![row.clone()]).await;
        assert_eq!(all(models, "m").await, [row]);
    }
}

/// Many rows at once.
pub async fn a_commit_may_hold_thousands_of_rows<V: Views>(models: &Models<V>) {
    let rows: Vec<_> = (0..3_000).map(|n| row(&format!("{n:05}"), &n.to_string())).collect();
    put(models, "m", rows.clone()).await;
    assert_eq!(all(models, "m").await, rows);
    let these = rows.iter().map(|row| row.id.clone()).collect();
    let found = models.rows(&model("m"), Rows::These(these)).await.expect("rows");
    assert_eq!(found, rows);
}
