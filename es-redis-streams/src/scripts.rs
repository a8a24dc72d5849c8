//! What the server does in one step, undisturbed. The first line of a script says what it
//! needs: one that deletes is not kept from it by a memory that is full.

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
