//! What the server does in one step, undisturbed. The first line of a script says what it
//! needs: one that deletes is not kept from it by a memory that is full.

use std::sync::OnceLock;

/// A script that the server knows by its sum, once it was told all of it.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: &'static str,
    pub(crate) sum: OnceLock<String>,
}

impl Script {
    const fn new(text: &'static str) -> Self {
        Self { text, sum: OnceLock::new() }
    }
}

macro_rules! script {
    ($needs:literal, $($file:literal),+) => {
        concat!("#!lua", $needs, "\n", $(include_str!(concat!("scripts/", $file)), "\n"),+)
    };
}

pub(crate) const BUILDS: &str = script!(" flags=no-writes", "part.lua", "builds.lua");
pub(crate) const ROWS: &str = script!(" flags=no-writes", "rows.lua");
pub(crate) const BEGIN: &str = script!("", "part.lua", "begin.lua");
pub(crate) const DIVIDE: &str = script!("", "part.lua", "divide.lua");
pub(crate) const SERVE: &str = script!("", "part.lua", "serve.lua");
pub(crate) const DISCARD: &str = script!(" flags=allow-oom", "part.lua", "discard.lua");
pub(crate) const REMOVE: &str = script!(" flags=allow-oom", "part.lua", "remove.lua");
pub(crate) const TAKE: &str = script!("", "part.lua", "take.lua");
pub(crate) const RENEW: &str = script!("", "part.lua", "renew.lua");
pub(crate) const COMMIT: &str = script!("", "part.lua", "steps.lua", "commit.lua");

pub(crate) static JOIN: Script =
    Script::new(script!("", "broker/queue.lua", "broker/topics.lua", "broker/join.lua"));
pub(crate) static FORGET: Script =
    Script::new(script!(" flags=allow-oom", "broker/queue.lua", "broker/forget.lua"));
pub(crate) static PUBLISH: Script = Script::new(script!("", "broker/publish.lua"));
/// What is handled makes room.
pub(crate) static TURN: Script = Script::new(script!(
    " flags=allow-oom",
    "broker/queue.lua",
    "broker/settle.lua",
    "broker/take.lua",
    "broker/turn.lua"
));
pub(crate) static LETTERS: Script =
    Script::new(script!(" flags=no-writes", "broker/queue.lua", "broker/letters.lua"));
pub(crate) static EXHUME: Script =
    Script::new(script!(" flags=allow-oom", "broker/queue.lua", "broker/exhume.lua"));
