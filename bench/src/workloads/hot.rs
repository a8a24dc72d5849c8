//! Sixteen clients on one account, beside sixteen clients on one each.

use crate::{
    contest::{Against, Role, Turn, Unit, Workload},
    measure::Measured,
    peers::{self, BOTH, Order},
    stores::Kind,
    workloads::commands::{Cache, Run, deposits},
};

const CLIENTS: usize = 16;

pub(crate) fn hot(name: &'static str, kind: Kind) -> Workload {
    let mut workload = Workload::new(name, Unit::PerSecond)
        .with(Role::Limit, "Gesta, 16 on 16", move |turn| run(turn, kind, CLIENTS))
        .with(Role::Gesta, "16 on one", move |turn| run(turn, kind, 1))
        .goal(Against::Limit, 0.8);
    for peer in BOTH {
        workload = workload.with(Role::Peer, peer, move |turn| {
            let seconds = turn.seconds;
            peers::run(turn, peer, Order { workload: "hot", kind, clients: CLIENTS, seconds })
        });
    }
    workload
}

fn run(turn: &Turn<'_>, kind: Kind, accounts: usize) -> anyhow::Result<Measured> {
    let (file, seconds) = (turn.file.clone(), turn.seconds);
    deposits(Run { file, kind, cache: Cache::On, accounts, clients: CLIENTS, seconds })
}
