use cqrs::Command;

struct Account;

#[derive(Command)]
struct Register {
    #[id(Account)]
    account: String,
    #[claim]
    name: String,
    #[claim = "user-name"]
    nick: String,
    #[claim(scope = "user-name")]
    alias: String,
    #[claim(7)]
    number: u32,
    #[claim("user-name", "nick-name")]
    other: String,
}

fn main() {}
