use es_core::Aggregate;

#[derive(Aggregate)]
union Account {
    number: u32,
    bits: i32,
}

fn main() {}
