use std::{future::poll_fn, pin::pin, task::Poll};

/// A future that still waits after so many polls will never come to an end.
const MOST_POLLS: usize = 10_000;

/// How a future came to its end after it had been dropped everywhere before.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let swept = es_testkit::sweep(|_| async { 7 }, async |_| {}).await;
/// assert_eq!((swept.output, swept.awaits, swept.drops), (7, 0, 1));
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept<T> {
    /// What the one that was not dropped came to.
    pub output: T,
    /// How often that one had to wait.
    pub awaits: usize,
    /// How many were dropped before.
    pub drops: usize,
}

/// Drops a future at every point where it waits, and looks what that has done.
///
/// A future that is made anew each time is polled `k` times and dropped, for `k`
/// = 0, 1, 2, … until one comes to its end by itself. Each `k` is tried twice:
/// dropped as soon as it waits, when what it has asked for is under way, and
/// dropped when it is woken, when the answer is there but nobody has read it.
/// `make` and `check` are told the number of the run, from 0; `check` is called
/// after each drop.
///
/// It needs no runtime, beyond what the future itself needs.
///
/// ```
/// use std::cell::RefCell;
/// use tokio::task::yield_now;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let accounts = RefCell::new((100, 0));
/// let transfer = |_| async {
///     accounts.borrow_mut().0 -= 30;
///     yield_now().await; // who is dropped here has lost 30
///     accounts.borrow_mut().1 += 30;
/// };
/// let lost = RefCell::new(0);
/// let swept = es_testkit::sweep(transfer, async |_| {
///     let (one, other) = accounts.replace((100, 0));
///     *lost.borrow_mut() += 100 - one - other;
/// });
/// assert_eq!(swept.await.awaits, 1);
/// assert_eq!(lost.take(), 60);
/// # }
/// ```
///
/// # Panics
///
/// If the future still waits after 10,000 polls.
pub async fn sweep<F: Future>(
    mut make: impl FnMut(usize) -> F,
    mut check: impl AsyncFnMut(usize),
) -> Swept<F::Output> {
    let moments = (0..MOST_POLLS).flat_map(|polls| [(polls, End::Waits), (polls, End::IsWoken)]);
    // What was never polled is never woken.
    let moments = moments.filter(|moment| *moment != (0, End::IsWoken));
    for (run, (polls, end)) in moments.enumerate() {
        if let Some((output, awaits)) = poll_and_drop(make(run), polls, end).await {
            return Swept { output, awaits, drops: run };
        }
        check(run).await;
    }
    panic!("it still waits after {MOST_POLLS} polls");
}

/// When a future is dropped, once it has been polled often enough.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Waits,
    IsWoken,
}

/// What it came to before that, and after how many polls that found it waiting.
async fn poll_and_drop<F: Future>(future: F, polls: usize, end: End) -> Option<(F::Output, usize)> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(None);
        }
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some((output, polled)));
        }
        polled += 1;
        if polled == polls && end == End::Waits { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn every_point_is_dropped_while_it_waits_and_when_it_is_woken() {
        let begun = RefCell::new(Vec::new());
        let three = |run| {
            let begun = &begun;
            async move {
                for step in 0..3 {
                    begun.borrow_mut().push((run, step));
                    yield_now().await;
                }
            }
        };
        let checked = RefCell::new(Vec::new());
        let swept = sweep(three, async |run| checked.borrow_mut().push(run)).await;
        assert_eq!(swept, Swept { output: (), awaits: 3, drops: 7 });
        assert_eq!(checked.take(), (0..7).collect::<Vec<_>>());
        let begun = begun.take();
        let steps = |run| begun.iter().filter(|(at, _)| *at == run).count();
        assert_eq!((0..=7).map(steps).collect::<Vec<_>>(), [0, 1, 1, 2, 2, 3, 3, 3]);
    }
}
