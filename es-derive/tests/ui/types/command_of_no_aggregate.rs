use cqrs::Command;

struct Account;

#[derive(Command)]
struct Deposit(#[id(Account)] String);

fn main() {}
