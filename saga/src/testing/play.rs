use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use es_core::{AppendId, Spawn};
use futures_util::{FutureExt, TryFutureExt, future::BoxFuture};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{sync::Notify, task::AbortHandle};

use super::Fault;
use crate::{StepError, Way, step::Node};

/// How long a try may take that says nothing of it.
const TIMEOUT: Duration = Duration::from_secs(1);

/// One run of a saga with one failure, and receivers that know a key that they have seen.
pub(super) struct Play {
    pub(super) fault: Option<(String, Way, Fault)>,
    /// The step that is refused, so that the saga turns back.
    pub(super) turns: Option<String>,
    hits: AtomicU32,
    pub(super) crash: Notify,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    done: HashMap<AppendId, Value>,
    effects: Vec<(String, Way)>,
}

impl Play {
    pub(super) fn new(fault: Option<(String, Way, Fault)>, turns: Option<String>) -> Self {
        let (crash, ledger) = (Notify::new(), Mutex::default());
        Self { fault, turns, hits: AtomicU32::new(0), crash, ledger }
    }

    /// Whether a step is refused for good.
    pub(super) fn is_final(&self) -> bool {
        let refused = |(.., fault): &(_, _, Fault)| *fault == Fault::Refused;
        self.turns.is_some() || self.fault.as_ref().is_some_and(refused)
    }

    /// What has happened outside, in its order.
    pub(super) fn effects(&self) -> Vec<(String, Way)> {
        self.ledger.lock().effects.clone()
    }

    /// The same step, of which the receivers are those of this play.
    pub(super) fn stage<D: Send + Sync + 'static>(self: &Arc<Self>, mut node: Node<D>) -> Node<D> {
        node.timeout.get_or_insert(TIMEOUT);
        let (play, run) = (Arc::clone(self), node.run);
        node.run = Arc::new(move |work| {
            let (play, run) = (Arc::clone(&play), Arc::clone(&run));
            async move {
                let effect = || run(work.clone()).map_ok(Some).boxed();
                play.act(&work.step, Way::Forward, work.key, &effect).await
            }
            .boxed()
        });
        let play = Arc::clone(self);
        node.undo = node.undo.map(|undo| {
            Arc::new(move |work: crate::Work<D>| {
                let (play, undo) = (Arc::clone(&play), Arc::clone(&undo));
                async move {
                    let effect = || match play.has(work.action_key) {
                        true => undo(work.clone()).map_ok(|()| Some(Value::Null)).boxed(),
                        // There is nothing to undo.
                        false => std::future::ready(Ok(None)).boxed(),
                    };
                    play.act(&work.step, Way::Back, work.key, &effect).await.map(drop)
                }
                .boxed()
            }) as _
        });
        node
    }

    fn has(&self, key: AppendId) -> bool {
        self.ledger.lock().done.contains_key(&key)
    }

    async fn act<F>(
        &self,
        step: &str,
        way: Way,
        key: AppendId,
        effect: &F,
    ) -> Result<Value, StepError>
    where
        F: Fn() -> BoxFuture<'static, Result<Option<Value>, StepError>> + Sync,
    {
        if way == Way::Forward && self.turns.as_deref() == Some(step) {
            return Err(StepError::refused("it is to be undone"));
        }
        let strikes = |(at, on, fault): &(String, Way, Fault)| {
            let here = at == step && *on == way;
            (here && self.hits.fetch_add(1, Ordering::SeqCst) < fault.times()).then_some(*fault)
        };
        match self.fault.as_ref().and_then(strikes) {
            None => self.receive(step, way, key, effect).await,
            Some(Fault::Refused) => Err(StepError::refused("refused by the matrix")),
            Some(Fault::Error) => Err(StepError::failed("failed by the matrix")),
            Some(Fault::Timeout) => std::future::pending().await,
            Some(Fault::LostAnswer) => {
                self.receive(step, way, key, effect).await?;
                Err(StepError::failed("the answer is lost"))
            }
            Some(Fault::Twice) => {
                self.receive(step, way, key, effect).await?;
                self.receive(step, way, key, effect).await
            }
            Some(Fault::CrashBefore) => self.die().await,
            Some(Fault::CrashAfter) => {
                self.receive(step, way, key, effect).await?;
                self.die().await
            }
        }
    }

    async fn die(&self) -> Result<Value, StepError> {
        self.crash.notify_one();
        std::future::pending().await
    }

    /// A receiver that does what it is asked for once for each key.
    async fn receive<F>(
        &self,
        step: &str,
        way: Way,
        key: AppendId,
        effect: &F,
    ) -> Result<Value, StepError>
    where
        F: Fn() -> BoxFuture<'static, Result<Option<Value>, StepError>> + Sync,
    {
        if let Some(known) = self.ledger.lock().done.get(&key) {
            return Ok(known.clone());
        }
        let output = effect().await?;
        let mut ledger = self.ledger.lock();
        if output.is_some() {
            ledger.effects.push((step.to_owned(), way));
        }
        let output = output.unwrap_or_default();
        ledger.done.insert(key, output.clone());
        Ok(output)
    }
}

/// A process that can be killed: what it has begun stops where it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Mortal {
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Mortal {
    pub(super) fn kill(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }
}

impl Spawn for Mortal {
    #[expect(clippy::disallowed_methods, reason = "this is where tasks come from")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let task = tokio::spawn(task).abort_handle();
        self.tasks.lock().push(task);
    }
}
