use std::{fmt, sync::Arc};

use redis::{Arg, Cmd};

use crate::keys::Keys;

/// What a free-form projection does at its commit: commands that run in order, in one
/// script together with the checkpoint.
///
/// If one of them fails nothing of the commit happens. Redis itself takes nothing back, so
/// the script remembers what each command is about to change, but for the last one: of
/// `HSET`, `HSETNX`, `HDEL`, `HINCRBY`, `HINCRBYFLOAT`, `SADD`, `SREM`, `ZADD`, `ZINCRBY`
/// and `ZREM` the fields and members that they name, of any other command all that its
/// keys hold, once for a commit. Prefer the ones that are named for what grows large.
///
/// A command names a key, and has at most 7,000 words: others are refused. So is one that
/// waits, and a script.
///
/// ```no_run
/// use es_core::{Builds, BuildChange, Changes, Name, Part, Position, Slices, Views};
/// use es_redis_streams::{RedisOptions, cmd};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let views = RedisOptions::new("redis://127.0.0.1:6379").views().await?;
/// let scores = Part::new(Name::new("scores")?, 1, Slices::ALL);
/// views.change(BuildChange::begin(scores.model.clone(), 1)).await?;
/// let (mut tx, seen) = views.begin(&scores).await?;
/// let key = tx.key("scores");
/// tx.run(cmd("ZINCRBY").arg(key).arg(7).arg("ada").take());
/// views.commit(&scores, tx, Changes::default(), seen, seen.at(Position::new(3))).await?;
/// # Ok(())
/// # }
/// ```
pub struct RedisTx {
    keys: Arc<Keys>,
    /// Since when the model is there.
    pub(crate) born: String,
    commands: Vec<Cmd>,
}

impl RedisTx {
    pub(crate) fn new(keys: Arc<Keys>, born: String) -> Self {
        Self { keys, born, commands: Vec::new() }
    }

    /// Does this at the commit, if there is one, after what was given earlier.
    pub fn run(&mut self, command: Cmd) {
        self.commands.push(command);
    }

    /// A key for a projection's own use. A cluster holds all keys of one transaction to one
    /// slot, which is why they have the prefix of the store in them.
    pub fn key(&self, name: impl fmt::Display) -> String {
        self.keys.own(name)
    }

    /// How many commands, and each as many words.
    pub(crate) fn write_to(&self, script: &mut Cmd) {
        script.arg(self.commands.len());
        for command in &self.commands {
            script.arg(command.args_iter().len());
            for word in command.args_iter() {
                match word {
                    Arg::Simple(word) => script.arg(word),
                    _ => script.arg(0),
                };
            }
        }
    }
}

impl fmt::Debug for RedisTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTx").field("commands", &self.commands.len()).finish_non_exhaustive()
    }
}
