use cqrs::{Command, Query};
use es_core::{Aggregate, Claim, Event, Evolve, StreamId};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "account.opened")]
struct Opened;

#[derive(Default, Aggregate)]
struct Account;

#[derive(Default, Aggregate)]
#[aggregate(id = u32)]
struct Door;

impl Evolve for Account {
    type Event = Opened;
    fn evolve(&mut self, _: &Opened) {}
}

impl Evolve for Door {
    type Event = Opened;
    fn evolve(&mut self, _: &Opened) {}
}

#[derive(Command)]
#[command(aggregate = Account, creates, name = "account.open")]
struct Open {
    #[id]
    account: String,
}

#[derive(Command)]
#[command(aggregate = self::Door)]
struct OpenDoor(bool, #[id] u32);

#[derive(Command)]
#[command(aggregate = Account)]
struct Note<T: Send + Sync + 'static>
where
    T: Clone,
{
    text: T,
    #[id]
    r#type: String,
}

#[derive(Command)]
#[command(creates)]
struct Close(#[id(self::Door)] u32);

/// A field named as a variable of the derive, an id that is claimed too, and a
/// value in two scopes.
#[derive(Command)]
struct Register<T: std::fmt::Display + Send + Sync + 'static> {
    #[id(Account)]
    #[claim("account-id")]
    stream: String,
    #[claim("user-name")]
    #[claim("any-name")]
    name: T,
    #[claim("badge")]
    badge: Option<u32>,
    #[claim("card")]
    cards: Vec<Option<char>>,
}

#[derive(Command)]
struct Rename(#[id(Account)] String, #[claim("user-name")] String);

#[derive(Query)]
#[query(output = Result<Option<u64>, String>)]
struct BalanceOf;

#[derive(Query)]
#[query(output = Vec<String>, name = "accounts.search")]
enum Search {
    Newest,
}

fn stream() -> StreamId {
    StreamId::new("account", "7").expect("a name")
}

fn decided_by<C: Command>() -> &'static str {
    C::Aggregate::CATEGORY
}

fn outputs<Q: Query<Output = O>, O>() -> &'static str {
    Q::NAME
}

#[test]
fn the_name_is_the_type_in_snake_case_unless_written() {
    assert_eq!(Open::NAME, "account.open");
    assert_eq!(OpenDoor::NAME, "open_door");
    assert_eq!(Note::<u8>::NAME, "note");
}

#[test]
fn a_command_creates_only_if_it_says_so() {
    let creates = [Open::CREATES, OpenDoor::CREATES, Note::<u8>::CREATES];
    assert_eq!(creates, [true, false, false]);
}

#[test]
fn the_id_is_the_marked_field() {
    assert_eq!(Open { account: "ada".into() }.id(), "ada");
    let door = OpenDoor(true, 7);
    assert_eq!((*door.id(), door.0), (7, true));
    let note = Note { text: 1_u8, r#type: "ada".into() };
    assert_eq!((note.id().as_str(), note.text), ("ada", 1));
}

#[test]
fn the_aggregate_may_stand_at_the_id() {
    assert_eq!(decided_by::<Close>(), "door");
    assert_eq!((Close::NAME, Close::CREATES, *Close(7).id()), ("close", true, 7));
    assert_eq!(decided_by::<Rename>(), "account");
}

#[test]
fn a_command_without_claim_fields_claims_nothing() {
    assert_eq!(Close(7).claims(&stream()), Ok(vec![]));
}

#[test]
fn each_scope_of_a_field_claims_its_value_for_the_stream() {
    let register = Register {
        stream: "7".into(),
        name: "ada",
        badge: Some(3),
        cards: vec![Some('a'), None, Some('b')],
    };
    let expected = [
        ("account-id", "7"),
        ("user-name", "ada"),
        ("any-name", "ada"),
        ("badge", "3"),
        ("card", "a"),
        ("card", "b"),
    ];
    let expected = expected.map(|(scope, key)| Claim::take(scope, key, stream()).unwrap());
    assert_eq!(register.claims(&stream()).unwrap(), expected);
}

#[test]
fn an_option_that_is_none_claims_nothing() {
    let register = Register { stream: "7".into(), name: 8, badge: None, cards: vec![] };
    let claims = register.claims(&stream()).unwrap();
    assert!(claims.iter().all(|claim| !["badge", "card"].contains(&claim.scope().as_str())));
    assert_eq!(claims.len(), 3);
}

#[test]
fn a_value_that_makes_no_name_is_an_error_and_no_claim_is_lost_in_silence() {
    assert!(Rename("7".into(), String::new()).claims(&stream()).is_err());
    assert!(Rename("7".into(), "x".repeat(256)).claims(&stream()).is_err());
}

#[test]
fn a_query_has_its_output_and_a_name() {
    assert_eq!(outputs::<BalanceOf, Result<Option<u64>, String>>(), "balance_of");
    assert_eq!(outputs::<Search, Vec<String>>(), "accounts.search");
    let Search::Newest = Search::Newest;
}
