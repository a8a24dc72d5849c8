use cqrs::Query;

#[derive(Query)]
struct BalanceOf {
    account: String,
}

fn main() {}
