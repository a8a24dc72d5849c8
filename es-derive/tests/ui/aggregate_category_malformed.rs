use es_core::Aggregate;

#[derive(Default, Aggregate)]
#[aggregate(category = "")]
struct Empty;

#[derive(Default, Aggregate)]
#[aggregate(category = "bank\taccount")]
struct WithControlCharacter;

fn main() {}
