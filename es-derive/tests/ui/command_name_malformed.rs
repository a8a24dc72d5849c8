use cqrs::Command;

struct Account;

#[derive(Command)]
#[command(aggregate = Account, name = "Account Deposit")]
struct Deposit(#[id] String);

fn main() {}
