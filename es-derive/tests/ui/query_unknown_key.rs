use cqrs::Query;

#[derive(Query)]
#[query(output = u64, answer = u64)]
struct BalanceOf;

fn main() {}
