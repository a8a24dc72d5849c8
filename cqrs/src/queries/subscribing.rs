use std::{sync::Arc, time::Duration};

use es_core::Position;
use futures_util::{
    StreamExt,
    future::select_all,
    stream::{self, BoxStream},
};
use tokio::sync::watch;

use super::{
    bus::Queries,
    tags::{Tag, texts},
};
use crate::{Answered, AskError, Query};

/// How long a subscription waits after an error before it asks again.
const PAUSE: Duration = Duration::from_secs(1);

impl Queries {
    /// The answer, and then the answer again each time that one of its
    /// [tags](crate::QuerySettings::tags) has changed, for ever.
    ///
    /// Every answer is made when the stream is asked for it: changes that come
    /// meanwhile are brought by one answer, and none waits in memory. The last
    /// change is never lost: what an answer does not show brings another one.
    /// After an error the stream goes on; it pauses for a second, and asks again.
    ///
    /// ```
    /// # use cqrs::{Answer, BoxError, CacheTag, Projector, Queries, Query, QuerySettings};
    /// # use cqrs::{Aggregate, Command, Commands, Decide, Event, Evolve, Keys, View};
    /// # use es_core::{Recorded, Rejection, Tenant, memory::{MemoryStore, MemoryViews}};
    /// # use serde::{Deserialize, Serialize};
    /// #
    /// # #[derive(Serialize, Deserialize, Event)]
    /// # #[event(name = "bell.rung")]
    /// # struct Rung;
    /// # #[derive(Default, Serialize, Deserialize, Aggregate)]
    /// # struct Bell { times: u32 }
    /// # impl Evolve for Bell { type Event = Rung; fn evolve(&mut self, _: &Rung) { self.times += 1; } }
    /// # #[derive(Command)]
    /// # struct Ring { #[id(Bell)] tower: String }
    /// # impl Decide<Ring> for Bell {
    /// #     fn decide(&self, _: &Ring) -> Result<Vec<Rung>, Rejection> { Ok(vec![Rung]) }
    /// # }
    /// # impl View for Bell {
    /// #     const NAME: &'static str = "bells";
    /// #     type Key = String;
    /// #     fn keys(rung: Recorded<'_, Rung>) -> Keys<String> { Keys::One(rung.stream.id().to_owned()) }
    /// # }
    /// # #[derive(Query)]
    /// # #[query(output = u32)]
    /// # struct TimesRung { tower: String }
    /// # struct Bells(Projector<MemoryViews>);
    /// # impl Answer<TimesRung> for Bells {
    /// #     async fn answer(&self, query: &TimesRung, tenant: &Tenant) -> Result<u32, BoxError> {
    /// #         let bell = self.0.of(tenant.clone()).get::<Bell>(&query.tower).await?;
    /// #         Ok(bell.map_or(0, |bell| bell.times))
    /// #     }
    /// # }
    /// use futures_util::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let store = MemoryStore::new();
    /// # let commands = Commands::new(store.clone());
    /// # let projector = Projector::new(store, MemoryViews::new()).view::<Bell>();
    /// let settings = QuerySettings::<TimesRung>::new()
    ///     .tags(|query| vec![CacheTag::row::<Bell>(&query.tower)]);
    /// let queries = Queries::builder(projector.clone())
    ///     .answer(Bells(projector.clone()), settings)
    ///     .build();
    /// let projecting = projector.start();
    ///
    /// let mut times = queries.subscribe(TimesRung { tower: "ghent".into() });
    /// assert_eq!(*times.next().await.expect("no end")?, 0);
    /// commands.send(Ring { tower: "ghent".into() }).await?;
    /// while *times.next().await.expect("no end")? != 1 {}
    /// # projecting.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A query without tags is an error, [`AskError::NoTags`], and the end.
    pub fn subscribe<Q: Query>(
        &self,
        query: Q,
    ) -> BoxStream<'static, Result<Answered<Q::Output>, AskError>> {
        match Subscription::new(self.clone(), query) {
            Err(error) => stream::once(async { Err(error) }).boxed(),
            Ok(subscription) => stream::unfold(subscription, |mut subscription| async move {
                let answer = subscription.next().await;
                Some((answer, subscription))
            })
            .boxed(),
        }
    }
}

struct Subscription<Q: Query> {
    queries: Queries,
    query: Arc<Q>,
    changes: Vec<watch::Receiver<Position>>,
    era: watch::Receiver<u64>,
    /// Without whom nobody would hear of changes.
    _tags: Vec<Arc<Tag>>,
    shown: Shown,
}

/// What the last answer has shown.
enum Shown {
    Nothing,
    UpTo { as_of: Position, era: u64 },
    Error,
}

impl<Q: Query> Subscription<Q> {
    /// Listens from now on, before the first answer is made.
    fn new(queries: Queries, query: Q) -> Result<Self, AskError> {
        let tags = queries.bus.answerer::<Q>()?.settings.tags_of(&query);
        if tags.is_empty() {
            return Err(AskError::NoTags { query: Q::NAME });
        }
        queries.listening();
        let tags = queries.bus.tags.hold(&texts(&tags, &queries.demand.tenant));
        let changes = tags.iter().map(|tag| tag.watch()).collect();
        let era = queries.bus.tags.watch_era();
        let (query, shown) = (Arc::new(query), Shown::Nothing);
        Ok(Self { queries, query, changes, era, _tags: tags, shown })
    }

    async fn next(&mut self) -> Result<Answered<Q::Output>, AskError> {
        match self.shown {
            Shown::Nothing => {}
            Shown::Error => self.queries.bus.world.sleep(PAUSE).await,
            Shown::UpTo { as_of, era } => self.changed(as_of, era).await,
        }
        let era = *self.era.borrow_and_update();
        let token = self.changed_last();
        let answer = self.queries.at_least(token).ask_again(Arc::clone(&self.query)).await;
        self.shown = match &answer {
            Ok(answer) => Shown::UpTo { as_of: answer.as_of, era },
            Err(_) => Shown::Error,
        };
        answer
    }

    /// Waits for a change that the last answer does not show.
    async fn changed(&mut self, as_of: Position, era: u64) {
        while *self.era.borrow_and_update() == era && self.changed_last() <= as_of {
            let changes = self.changes.iter_mut().map(|change| Box::pin(change.changed()));
            // Both are told by what this subscription holds, and do not end before.
            tokio::select! {
                _ = select_all(changes) => {}
                _ = self.era.changed() => {}
            }
        }
    }

    fn changed_last(&mut self) -> Position {
        let last = self.changes.iter_mut().map(|change| *change.borrow_and_update());
        last.max().unwrap_or_default()
    }
}
