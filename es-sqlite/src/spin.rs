//! How the writer and a lone caller look for each other for a moment before they
//! sleep.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

/// Takes what waits. With nothing there it looks again for a moment before it
/// sleeps: waking a thread costs as much as a third of a commit.
pub(crate) fn next_group<J>(
    queue: &mut mpsc::Receiver<J>,
    group: &mut Vec<J>,
    most: usize,
    idle: &AtomicBool,
    spin: Duration,
) -> usize {
    idle.store(true, Ordering::Release);
    let since = now();
    while group.is_empty() && since.elapsed() < spin {
        match queue.try_recv() {
            Ok(job) => group.push(job),
            Err(_) => std::hint::spin_loop(),
        }
    }
    if group.is_empty() {
        return queue.blocking_recv_many(group, most);
    }
    while group.len() < most
        && let Ok(job) = queue.try_recv()
    {
        group.push(job);
    }
    group.len()
}

/// Waits for the answer. The one caller that found the writer idle asks again
/// and again for a moment, letting other tasks run in between; sleeping and
/// being woken would cost it as much as a third of a commit.
pub(crate) async fn spin_then_wait<T>(
    mut answer: oneshot::Receiver<T>,
    spin: Duration,
) -> Result<T, oneshot::error::RecvError> {
    if spin.is_zero() {
        return answer.await;
    }
    let since = now();
    poll_fn(|context| {
        let polled = Pin::new(&mut answer).poll(context);
        if polled.is_pending() && since.elapsed() < spin {
            context.waker().wake_by_ref();
        }
        polled
    })
    .await
}

#[expect(clippy::disallowed_methods, reason = "how long to spin is no time that a test drives")]
fn now() -> Instant {
    Instant::now()
}
