use cqrs::Command;

struct Account;

#[derive(Command)]
#[command(aggregate = Account)]
struct Transfer {
    #[id]
    from: String,
    #[id]
    to: String,
}

fn main() {}
