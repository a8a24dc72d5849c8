use es_core::{Build, EventStoreExt, Lag, Name, Read, Views};

use crate::{ProjectionError, Projector};

impl<V: Views> Projector<V> {
    /// How far each model is behind, in the order in which they were added. It asks
    /// the store for the checkpoints, so that it is told of models that another
    /// process keeps as well.
    ///
    /// ```
    /// use cqrs::Projector;
    /// # use cqrs::{Event, Evolve, Keys, View};
    /// # use es_core::{Recorded, memory::{MemoryStore, MemoryViews}};
    /// # use serde::{Deserialize, Serialize};
    /// #
    /// # #[derive(Serialize, Deserialize, Event)]
    /// # #[event(name = "bell.rung")]
    /// # struct Rung;
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # struct Tower { times: u32 }
    /// # impl Evolve for Tower { type Event = Rung; fn evolve(&mut self, _: &Rung) { self.times += 1; } }
    /// # impl View for Tower {
    /// #     const NAME: &'static str = "towers";
    /// #     type Key = String;
    /// #     fn keys(rung: Recorded<'_, Rung>) -> Keys<String> { Keys::One(rung.stream.id().to_owned()) }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (store, views) = (MemoryStore::new(), MemoryViews::new());
    /// let projector = Projector::new(store, views).view::<Tower>();
    /// for (model, lag) in projector.lag().await? {
    ///     println!("{model}: {} events, {:?}", lag.events, lag.age);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Store`] if the store cannot be asked.
    pub async fn lag(&self) -> Result<Vec<(Name, Lag)>, ProjectionError> {
        let inner = &self.inner;
        let builds = inner.views.builds(&inner.names()).await?;
        let mut all = Vec::with_capacity(inner.recipes.len());
        for recipe in &inner.recipes {
            let about = recipe.about();
            let mut of_model = builds.iter().filter(|build| build.model == about.name);
            let serving = of_model.find(|build| build.serves);
            let position = match serving {
                Some(build) if build.is_inline() => inner.store.head().await?,
                _ => serving.and_then(Build::position).unwrap_or_default(),
            };
            let read = Read::all().every_tenant().types(about.types.clone()).after(position);
            all.push((about.name.clone(), inner.store.lag(read, inner.world.now()).await?));
        }
        Ok(all)
    }
}
