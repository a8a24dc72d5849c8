//! What a group of several processes keeps when one of them, the network or the server fails.

mod cutting;
mod dying;
mod refusing;
mod restarting;
mod sharing;
mod site;
