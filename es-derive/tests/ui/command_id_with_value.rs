use cqrs::Command;

struct Account;

#[derive(Command)]
struct Deposit(#[id(key = "account")] String);

#[derive(Command)]
#[command(aggregate = Account)]
struct Withdraw(#[id = "account"] String);

#[derive(Command)]
struct Close(#[id()] String);

#[derive(Command)]
struct Open(#[id("Account")] String);

fn main() {}
