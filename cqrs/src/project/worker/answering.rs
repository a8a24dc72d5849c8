//! Lets builds answer that have come far enough.

use std::sync::Arc;

use es_core::{Build, Part, Position, Views};

use super::{NEAR, Worker};
use crate::{
    ProjectionError,
    project::{handler::Recipe, plan, swap},
};

impl<V: Views> Worker<V> {
    /// Lets a build answer that has come far enough, if its first part is kept here.
    pub(super) async fn swap(&mut self, builds: &[Build]) -> Result<bool, ProjectionError> {
        for recipe in self.inner.recipes.clone() {
            let name = &recipe.about().name;
            let of_model = plan::of(name, builds);
            let Some(beside) = plan::beside(recipe.about(), &of_model) else { continue };
            let idle = |part: &Part| self.idle.iter().find(|one| one.held().part == *part);
            let Some(first) = beside.parts.first().map(|part| beside.part(part.slices)) else {
                continue;
            };
            let serving = of_model.iter().find(|build| build.serves);
            let goal = serving.and_then(|build| build.position()).unwrap_or_default();
            let near = |position: Position| position.get() + NEAR >= goal.get();
            let reached = beside.parts.iter().all(|state| match idle(&beside.part(state.slices)) {
                Some(handler) => near(handler.held().checkpoint.position),
                None => near(state.checkpoint.position),
            });
            if idle(&first).is_some() && reached && !self.is_left(name) {
                let done = self.let_answer(&recipe, beside.number).await;
                done.or_else(|error| self.leave(name, error))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) async fn let_answer(
        &mut self,
        recipe: &Arc<dyn Recipe<V>>,
        build: u64,
    ) -> Result<(), ProjectionError> {
        let name = &recipe.about().name;
        let is_new = |part: &Part| part.model == *name && part.build == build;
        let (new, others) =
            std::mem::take(&mut self.idle).into_iter().partition(|one| is_new(&one.held().part));
        self.idle = others;
        self.held.retain(|part, _| !is_new(part));
        let (inner, owner) = (&self.inner, &self.owner);
        let handlers = swap::swap(inner, recipe.as_ref(), build, owner, new, None).await?;
        for handler in handlers {
            let held = handler.held();
            self.inner.keeps(&held.part, held.checkpoint.position, true);
            self.held.insert(held.part.clone(), (held.checkpoint.epoch, true));
            self.idle.push(handler);
        }
        Ok(())
    }
}
