use cqrs::Command;

struct Account;

#[derive(Command)]
#[command(aggregate = Account)]
struct Deposit {
    #[id(key = "account")]
    account: String,
}

fn main() {}
