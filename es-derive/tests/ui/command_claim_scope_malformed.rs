use cqrs::Command;

struct Account;

#[derive(Command)]
struct Register {
    #[id(Account)]
    account: String,
    #[claim("")]
    empty: String,
    #[claim("user\tname")]
    with_tab: String,
    #[claim("$name")]
    reserved: String,
}

fn main() {}
