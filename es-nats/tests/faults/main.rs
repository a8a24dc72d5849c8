//! What the contract does not try: several processes, and those that die.

mod dying;
mod holding;
mod listening;
mod losing;
mod publishing;
mod refusing;
mod restarting;
mod sharing;
mod site;
