use cqrs::Command;

struct Account;

#[derive(Command)]
struct Deposit {
    #[id]
    account: String,
}

fn main() {}
