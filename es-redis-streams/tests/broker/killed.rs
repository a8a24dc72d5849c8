//! A process that is killed.

use std::{
    env,
    io::{BufRead, BufReader, Write, stdout},
    process::{Child, ChildStdout, Command, Stdio},
};

use super::{
    SHORT, ack, asks, assert_in_order, broker, consume, keyed, next, options, publish, server,
};

/// Where the process that is to be killed finds the server.
const SERVER: &str = "GESTA_TEST_BROKER_OF_CHILD";
/// What it says before each id.
const MARK: &str = "in hand: ";

/// Not a test, unless another one has started this process: handles messages until it is
/// killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_handles_messages() {
    let Ok(url) = env::var(SERVER) else { return };
    let broker = broker(options(url).lease(SHORT)).await;
    let mut member = consume(&broker, asks().window(50)).await;
    loop {
        let delivery = next(&mut member).await;
        writeln!(stdout(), "{MARK}{}", delivery.message.id).expect("somebody listens");
        ack(delivery).await;
    }
}

struct Killed(Child, BufReader<ChildStdout>);

impl Killed {
    fn start(url: String) -> Self {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["--exact", "killed::a_process_that_is_killed_handles_messages"]);
        command.arg("--nocapture").env(SERVER, url);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        Self(child, said)
    }

    /// Kills it when it has so many in hand, and returns all that it had.
    fn kill_after(self, count: usize) -> Vec<String> {
        let Self(mut child, said) = self;
        let mut lines = said.lines().map(|line| line.expect("text"));
        let mut seen: Vec<String> = Vec::new();
        let in_hand = |line: String| Some(line.split_once(MARK)?.1.to_owned());
        seen.extend(lines.by_ref().filter_map(in_hand).take(count));
        child.kill().expect("it can be killed");
        child.wait().expect("it is gone");
        seen.extend(lines.filter_map(in_hand));
        seen
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_had_in_hand_comes_to_others_in_its_order() {
    let Some(server) = server() else { return };
    let ours = broker(options(server.url()).lease(SHORT)).await;
    drop(consume(&ours, asks()).await);
    publish(&ours, keyed(8, 50)).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let url = server.url();
        let killed = tokio::task::spawn_blocking(|| Killed::start(url).kill_after(60)).await;
        seen.extend(killed.expect("a process that is killed"));
    }
    let mut member = consume(&ours, asks()).await;
    while seen.iter().collect::<std::collections::BTreeSet<_>>().len() < 400 {
        let delivery = next(&mut member).await;
        seen.push(delivery.message.id.clone());
        ack(delivery).await;
    }
    assert_in_order(&seen, 8, 50);
    assert!(seen.len() <= 402, "only what was in hand comes twice: {}", seen.len());
}
