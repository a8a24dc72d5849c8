//! Rows: how they are found, in which order, by the page.

use es_core::{Changes, Lookup, Row, RowId, Rows, Tenant, Views};

use super::scene::{Models, all, begin, deleted, every, id, name, page, put, row, row_of, whole};
use crate::{contract::event_store::names::HOSTILE, fake};

fn keys(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.id.key.as_str()).collect()
}

/// A read model that nobody wrote has no rows.
pub async fn an_unknown_model_has_no_rows<V: Views>(models: &Models<V>) {
    assert!(all(models, "balances").await.is_empty());
    let these = Rows::These(vec![id("ada")]);
    assert!(models.find(Lookup::new(name("balances"), these)).await.is_empty());
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
    let found = models.find(Lookup::new(name("m"), Rows::These(these))).await;
    assert_eq!(found, [row("a", "1"), row("c", "3"), row("d", "4")]);
    let none = models.find(Lookup::new(name("m"), Rows::These(vec![]))).await;
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

/// A row that was deleted takes no place in a page.
pub async fn a_page_is_full_where_rows_were_deleted<V: Views>(models: &Models<V>) {
    put(models, "m", (0..9).map(|n| row(&n.to_string(), "x")).collect()).await;
    put(models, "m", (0..6).map(|n| deleted(&n.to_string())).collect()).await;
    assert_eq!(keys(&page(models, "m", None, 3).await), ["6", "7", "8"]);
    let rows = Rows::Every { after: None, limit: 2 };
    let found = models.find(Lookup::new(name("m"), rows)).await;
    assert_eq!(keys(&found), ["6", "7"]);
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
    let theirs = |key: &str, value: &str| row_of("acme", key, value);
    put(models, "m", vec![row("ada", "7"), theirs("ada", "9"), theirs("bob", "1")]).await;
    assert_eq!(all(models, "m").await, [row("ada", "7")]);
    let of_them = Rows::Of { tenant: fake::tenant("acme"), after: None, limit: 10 };
    let found = models.find(Lookup::new(name("m"), of_them)).await;
    assert_eq!(found, [theirs("ada", "9"), theirs("bob", "1")]);
    put(models, "m", vec![deleted("ada")]).await;
    let both = Rows::These(vec![id("ada"), theirs("ada", "").id]);
    let found = models.find(Lookup::new(name("m"), both)).await;
    assert_eq!(found, [theirs("ada", "9")]);
}

/// Rows of several tenants come in the order of tenant and key.
pub async fn these_rows_of_several_tenants_are_in_order<V: Views>(models: &Models<V>) {
    let ids: Vec<_> = [("b", "x"), ("a", "y"), ("a", "x"), ("b", "a")]
        .map(|(tenant, key)| RowId::new(fake::tenant(tenant), key))
        .to_vec();
    let rows = ids.iter().map(|id| Row { id: id.clone(), value: Some("v".into()) }).collect();
    put(models, "m", rows).await;
    let found = models.find(Lookup::new(name("m"), Rows::These(ids.clone()))).await;
    let mut due = ids;
    due.sort_unstable();
    assert_eq!(found.into_iter().map(|row| row.id).collect::<Vec<_>>(), due);
}

/// Rows of every tenant, by the page: in the order of tenant and key.
pub async fn rows_of_every_tenant_come_by_the_page<V: Views>(models: &Models<V>) {
    let tenants = ["a", "ab", "b", "acme", "%"];
    let rows =
        tenants.iter().flat_map(|tenant| (0..5).map(|n| row_of(tenant, &n.to_string(), "x")));
    let mut due: Vec<_> = rows.chain([row("3", "x")]).collect();
    put(models, "m", due.clone()).await;
    due.sort_by(|one, other| one.id.cmp(&other.id));
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let rows = Rows::Every { after: after.clone(), limit: 4 };
        let page = models.find(Lookup::new(name("m"), rows)).await;
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        found.extend(page);
    }
    assert_eq!(found, due);
}

/// A page of every tenant may begin after a row that is not there.
pub async fn a_page_of_every_tenant_may_begin_after_any_row<V: Views>(models: &Models<V>) {
    let rows = [row_of("b", "k", "1"), row_of("b", "m", "2"), row_of("d", "a", "3")];
    put(models, "m", rows.to_vec()).await;
    let after = |tenant: &str, key: &str, limit| {
        let after = Some(RowId::new(fake::tenant(tenant), key));
        models.find(Lookup::new(name("m"), Rows::Every { after, limit }))
    };
    assert_eq!(after("a", "z", 9).await, rows);
    assert_eq!(after("b", "", 9).await, rows);
    assert_eq!(after("b", "l", 9).await, rows[1..]);
    assert_eq!(after("b", "m", 9).await, rows[2..]);
    assert_eq!(after("c", "", 1).await, rows[2..]);
    assert_eq!(after("d", "a", 9).await, []);
    assert_eq!(after("a", "", 0).await, []);
}

/// What is kept beside the model is found by those who ask for it, in every way
/// that rows are.
pub async fn parked_rows_are_found_only_when_asked_for<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    let changes = Changes::rows([row("a", "1"), row("b", "2")]);
    models.wrote(&part, changes.parked([row("a", "parked"), row("c", "parked")])).await;
    let tenant = Tenant::default();
    let asked = [
        Rows::These(["a", "b", "c"].map(id).to_vec()),
        Rows::Of { tenant, after: None, limit: 9 },
        Rows::Every { after: None, limit: 9 },
    ];
    for rows in asked {
        let lookup = Lookup::new(name("m"), rows);
        assert_eq!(models.find(lookup.clone()).await, [row("a", "1"), row("b", "2")]);
        let parked = [row("a", "parked"), row("c", "parked")];
        assert_eq!(models.find(lookup.clone().parked()).await, parked);
        assert_eq!(models.find(lookup.parked().in_build(1)).await, parked);
    }
}

/// A row and a parked row of one key are two rows.
pub async fn a_row_and_a_parked_row_of_one_key_are_apart<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models.wrote(&part, Changes::rows([row("a", "1")]).parked([row("a", "2")])).await;
    models.wrote(&part, Changes::rows([deleted("a")])).await;
    assert_eq!(models.find(every("m")).await, []);
    assert_eq!(models.find(every("m").parked()).await, [row("a", "2")]);
    models.wrote(&part, Changes::rows([row("a", "3")]).parked([deleted("a")])).await;
    assert_eq!(models.find(every("m")).await, [row("a", "3")]);
    assert_eq!(models.find(every("m").parked()).await, []);
}

/// A key of any hostile name is a key like any other, and so is a tenant (S14, S15).
pub async fn keys_of_any_name_are_apart<V: Views>(models: &Models<V>) {
    let keyed = HOSTILE.iter().map(|key| row(key, key));
    let owned = HOSTILE.iter().map(|tenant| row_of(tenant, "k", tenant));
    let mut rows: Vec<_> = keyed.chain(owned).collect();
    put(models, "m", rows.clone()).await;
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(models.find(every("m")).await, rows);
    for one in rows {
        let these = Rows::These(vec![one.id.clone()]);
        assert_eq!(models.find(Lookup::new(name("m"), these)).await, [one]);
    }
}

/// A model of any hostile name is a model like any other (S14, S15).
pub async fn models_of_any_name_are_apart<V: Views>(models: &Models<V>) {
    for one in HOSTILE {
        models.must(begin(one, 1)).await;
        models.wrote(&whole(one, 1), Changes::rows([row("k", one)])).await;
    }
    for one in HOSTILE {
        assert_eq!(all(models, one).await, [row("k", one)], "{one:?}");
        assert_eq!(models.every_build(one).await.len(), 1, "{one:?}");
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
    let found = models.find(Lookup::new(name("m"), Rows::These(these))).await;
    assert_eq!(found, rows);
}
