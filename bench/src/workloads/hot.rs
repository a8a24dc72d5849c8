//! Sixteen clients on one account, beside sixteen clients on one each.

use crate::{
    contest::{Against, Role, Turn, Unit, Workload},
    measure::Measured,
    peers::{self, ESRS, Order},
    stores::Kind,
    workloads::commands::{Cache, Run, deposits},
};

const CLIENTS: usize = 16;

pub(crate) fn hot(name: &'static str, kind: Kind) -> Workload {
    let mut workload = Workload::new(name, Unit::PerSecond)
        .with(Role::Limit, "Gesta, 16 on 16", move |turn| run(turn, kind, CLIENTS))
        .with(Role::Gesta, "16 on one", move |turn| run(turn, kind, 1))
        .goal(Against::Limit, 0.8);
    for &peer in peers::with(kind) {
        workload = workload.with(Role::Peer, peer, move |turn| {
            // With a lock it does best.
            let workload = if peer == ESRS { "hot-locked" } else { "hot" };
            let order = Order { clients: CLIENTS, ..Order::new(workload, kind, turn.seconds) };
            peers::run(turn, peer, order)
        });
    }
    workload
}

fn run(turn: &Turn<'_>, kind: Kind, accounts: usize) -> anyhow::Result<Measured> {
    let (file, seconds) = (turn.file.clone(), turn.seconds);
    let (cache, clients, inline) = (Cache::On, CLIENTS, false);
    deposits(Run { file, kind, cache, accounts, clients, seconds, inline })
}
