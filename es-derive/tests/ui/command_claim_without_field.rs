use cqrs::Command;

struct Account;

#[derive(Command)]
#[claim("user-name")]
struct Register(#[id(Account)] String);

fn main() {}
