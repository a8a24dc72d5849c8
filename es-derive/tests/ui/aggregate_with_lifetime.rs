use es_core::Aggregate;

#[derive(Default, Aggregate)]
struct Account<'a> {
    owner: &'a str,
}

fn main() {}
