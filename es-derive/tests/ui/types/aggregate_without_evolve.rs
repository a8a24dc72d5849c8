use es_core::Aggregate;

#[derive(Default, Aggregate)]
struct Account;

fn main() {}
