use es_core::Aggregate;

#[derive(Default, Aggregate)]
#[aggregate(categroy = "account", version = 2)]
struct Account;

fn main() {}
