use cqrs::Command;

struct Account;

#[derive(Command)]
#[command(aggregate = Account)]
struct Deposit(#[id(Account)] String);

fn main() {}
