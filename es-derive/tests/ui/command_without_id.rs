use cqrs::Command;

struct Account;

#[derive(Command)]
#[command(aggregate = Account)]
struct Deposit {
    account: String,
}

#[derive(Command)]
#[command(aggregate = Account)]
struct Close;

fn main() {}
