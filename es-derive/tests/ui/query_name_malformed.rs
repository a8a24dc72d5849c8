use cqrs::Query;

#[derive(Query)]
#[query(output = u64, name = "balance-of")]
struct BalanceOf;

fn main() {}
