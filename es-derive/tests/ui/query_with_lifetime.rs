use cqrs::Query;

#[derive(Query)]
#[query(output = u64)]
struct BalanceOf<'a>(&'a str);

fn main() {}
