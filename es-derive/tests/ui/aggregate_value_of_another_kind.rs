use es_core::Aggregate;

#[derive(Default, Aggregate)]
#[aggregate(category = account, id = "String", revision = 0)]
struct Account;

fn main() {}
