use cqrs::Command;

struct Account;

#[derive(Command)]
#[command(aggregate = "Account", creates = true, name = deposit)]
struct Deposit(#[id] String);

fn main() {}
