use es_core::Aggregate;

#[derive(Default, Aggregate)]
#[aggregate(category = "bank-account")]
struct Account;

fn main() {}
