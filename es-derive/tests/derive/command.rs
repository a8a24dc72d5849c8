use cqrs::{Command, Query};
use es_core::{Aggregate, Event, Evolve};
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

#[derive(Query)]
#[query(output = Result<Option<u64>, String>)]
struct BalanceOf;

#[derive(Query)]
#[query(output = Vec<String>, name = "accounts.search")]
enum Search {
    Newest,
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
fn a_query_has_its_output_and_a_name() {
    assert_eq!(outputs::<BalanceOf, Result<Option<u64>, String>>(), "balance_of");
    assert_eq!(outputs::<Search, Vec<String>>(), "accounts.search");
    let Search::Newest = Search::Newest;
}
