use cqrs::Command;

struct Account;

#[derive(Command)]
#[command(aggregate = Account, create, category = "account")]
struct Open(#[id] String);

fn main() {}
