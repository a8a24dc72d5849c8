use cqrs::Command;

struct Account;

#[derive(Command)]
#[command(aggregate = Account)]
struct Deposit<'a> {
    #[id]
    account: &'a str,
}

fn main() {}
