use cqrs::Command;

struct Account;

#[derive(Command)]
#[command(aggregate = Account)]
enum AccountCommand {
    Deposit { account: String },
}

fn main() {}
