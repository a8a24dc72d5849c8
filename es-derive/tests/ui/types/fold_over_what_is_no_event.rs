use cqrs::Evolve;

enum AccountEvent {
    Closed,
}

#[derive(Default)]
struct Account;

impl Evolve for Account {
    type Event = AccountEvent;
    fn evolve(&mut self, _: &AccountEvent) {}
}

fn main() {}
