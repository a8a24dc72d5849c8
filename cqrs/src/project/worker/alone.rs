//! What whoever is alone does once: takes all parts, and brings them to a position.

use es_core::{Position, Taking, Views};

use super::{TRIES, Worker, is_paused_part};
use crate::{
    ProjectionError,
    project::{
        in_place,
        plan::{self, Plan},
        rebuild::clear_away,
        session::{self, Ended, Handlers},
    },
};

impl<V: Views> Worker<V> {
    /// Takes over every part of every model that answers, whoever has it.
    pub(crate) async fn take_all(&mut self) -> Result<Handlers<V>, ProjectionError> {
        for _ in 0..TRIES {
            let builds = self.builds().await?;
            let mut is_settled = true;
            for recipe in self.inner.recipes.clone() {
                let name = &recipe.about().name;
                let plan = Plan::new(recipe.about(), &plan::of(name, &builds));
                if let Some(error) = plan.refusal {
                    return Err(error);
                } else if plan.in_place {
                    in_place::rebuild(&self.inner, recipe.as_ref()).await?;
                    is_settled = false;
                } else if let Some(begin) = plan.begin {
                    self.inner.begin(begin).await?;
                    is_settled = false;
                }
                for (parts, serves) in [(plan.serving, true), (plan.beside, false)] {
                    for part in parts {
                        let is_new = !self.held.contains_key(&part);
                        if is_new && !is_paused_part(&builds, &part) {
                            self.take(part, serves, Taking::Anyway).await?;
                        }
                    }
                }
            }
            if is_settled {
                let wanted = self.held.iter().map(|(part, (_, serves))| (part.clone(), *serves));
                self.count(&wanted.collect(), &builds);
                return Ok(std::mem::take(&mut self.idle));
            }
        }
        let why = "its builds change again and again, try again later";
        Err(ProjectionError::Refused { name: "the projector".to_owned(), why })
    }

    /// Brings these parts to a position; a build that is not yet answering does so then.
    pub(crate) async fn bring(&mut self, handlers: Handlers<V>, until: Position) -> Ended<V> {
        let ahead = handlers.iter().find(|one| {
            let held = one.held();
            self.serves(&held.part) && held.checkpoint.position > until
        });
        if let Some(held) = ahead.map(|one| one.held()) {
            let (name, checkpoint) = (held.part.model.to_string(), held.checkpoint.position);
            let failure = Some(ProjectionError::Ahead { name, checkpoint, head: until });
            return Ended { failure, ..Ended::new(handlers) };
        }
        let mut ended =
            session::run(&self.inner, handlers, Some(until), None, self.stop.clone()).await;
        if ended.failure.is_none() && ended.lost.is_empty() {
            self.idle = std::mem::take(&mut ended.handlers);
            let swapped = async {
                while self.swap(&self.builds().await?).await? {}
                for recipe in &self.inner.recipes {
                    clear_away(&self.inner, recipe.as_ref()).await?;
                }
                Ok(())
            };
            ended.failure = swapped.await.err();
            ended.handlers = std::mem::take(&mut self.idle);
        }
        ended
    }
}
