use es_core::Event;

#[derive(Event)]
#[event(name = "account.opened")]
union Opened {
    number: u32,
    bits: i32,
}

fn main() {}
