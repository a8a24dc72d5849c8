//! Builds of read models, their parts, and who keeps them.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use es_core::{
    Build, BuildChange, BuildStep, Builds, Checkpoint, Name, Part, Slices, StoreError,
    StoreErrorKind, Taking,
};
use redis::Cmd;

use crate::{
    RedisViews,
    parts::{self, checkpoint_text, damaged, digits, part_field},
    scripts,
};

/// The longest lease, in milliseconds: a thousand years, which Lua counts exactly.
const LONGEST: u64 = 1_000 * 365 * 24 * 60 * 60 * 1_000;

#[async_trait]
impl Builds for RedisViews {
    async fn builds(&self, models: &[Name]) -> Result<Vec<Build>, StoreError> {
        let command = self.script(scripts::BUILDS, models);
        let found: Vec<redis::Value> = self.connection.ask(&command).await?;
        let mut found = found.into_iter();
        let now = found.next().ok_or_else(damaged)?;
        let now: u64 = redis::from_redis_value(now).map_err(|_| damaged())?;
        let mut builds = Vec::new();
        for (model, fields) in models.iter().zip(found) {
            let fields: HashMap<String, String> =
                redis::from_redis_value(fields).map_err(|_| damaged())?;
            builds.extend(parts::builds(model, &fields, now)?);
        }
        Ok(builds)
    }

    async fn change(&self, change: BuildChange) -> Result<(), StoreError> {
        change.check()?;
        let done: String = self.connection.write(&self.changing(&change)?).await?;
        match done.as_str() {
            "done" => Ok(()),
            "behind" => {
                let why = "it has not come as far as the one that answers";
                Err(refused(&change, StoreErrorKind::Busy, why))
            }
            _ => {
                let why = "it is not as it was, look at the builds again";
                Err(refused(&change, StoreErrorKind::Fenced, why))
            }
        }
    }

    async fn take(
        &self,
        part: &Part,
        owner: &Name,
        lease: Duration,
        taking: Taking,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let mut command = self.script(scripts::TAKE, [&part.model]);
        command.arg(part_field(part.build, part.slices)).arg(owner.as_str()).arg(millis(lease));
        command.arg(if taking == Taking::Anyway { "anyway" } else { "free" });
        let taken: Option<(String, String)> = self.connection.write(&command).await?;
        taken.map(|(epoch, position)| parts::checkpoint(&epoch, &position)).transpose()
    }

    async fn renew(
        &self,
        owner: &Name,
        held: &[(Part, u64)],
        lease: Duration,
    ) -> Result<Vec<Part>, StoreError> {
        let mut command = self.script(scripts::RENEW, held.iter().map(|(part, _)| &part.model));
        command.arg(owner.as_str()).arg(millis(lease));
        for (part, epoch) in held {
            command.arg(part_field(part.build, part.slices)).arg(digits(*epoch));
        }
        let still: Vec<bool> = self.connection.write(&command).await?;
        let still = held.iter().zip(still).filter(|(_, still)| *still);
        Ok(still.map(|((part, _), _)| part.clone()).collect())
    }
}

impl RedisViews {
    fn changing(&self, change: &BuildChange) -> Result<Cmd, StoreError> {
        let build = digits(change.build);
        let field = |slices: &Slices| part_field(change.build, *slices);
        let seen = |parts: &[(Slices, Checkpoint)]| -> Vec<String> {
            parts.iter().flat_map(|(part, seen)| [field(part), checkpoint_text(*seen)]).collect()
        };
        let (script, words) = match &change.what {
            BuildStep::Begin { revision, parts, from } => {
                let about = [build, revision.to_string(), digits(from.get()), self.fresh()];
                (scripts::BEGIN, about.into_iter().chain(parts.iter().map(field)).collect())
            }
            BuildStep::Divide { from, into } => {
                let from = std::iter::once(from.len().to_string()).chain(seen(from));
                (scripts::DIVIDE, from.chain(into.iter().map(field)).collect())
            }
            BuildStep::Serve { parts, head } => {
                let about = [build, digits(head.get())];
                (scripts::SERVE, about.into_iter().chain(seen(parts)).collect())
            }
            BuildStep::Discard => (scripts::DISCARD, vec![build]),
            BuildStep::Remove => (scripts::REMOVE, Vec::new()),
            _ => {
                let why = "this program does not know the change";
                return Err(refused(change, StoreErrorKind::Unsupported, why));
            }
        };
        let mut command = self.over(script, &change.model);
        command.arg(words);
        Ok(command)
    }

    /// What tells a model from one of the same name that the server has forgotten.
    fn fresh(&self) -> String {
        format!("{:016x}", self.connection.world.random_u64())
    }
}

/// A lease that is not nothing is at least a millisecond.
fn millis(lease: Duration) -> u64 {
    u64::try_from(lease.as_nanos().div_ceil(1_000_000)).unwrap_or(LONGEST).min(LONGEST)
}

fn refused(change: &BuildChange, kind: StoreErrorKind, why: &str) -> StoreError {
    StoreError::new(kind, format!("build {} of {}: {why}", change.build, change.model))
}
