//! Named places in the code where a test can make something go wrong.
//!
//! `failpoint!("append.before_commit")` compiles to nothing in a release build,
//! and unless the feature `failpoints` is on. Else a test binds an action to the name; a program
//! started with `GESTA_FAILPOINT=name:hits` kills itself, as `kill -9` would,
//! when the place is reached for the given time.

/// Marks a place where a test can make something go wrong; nothing in a release
/// build, or without the feature `failpoints`.
///
/// ```
/// es_core::failpoint!("docs.example");
/// ```
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::__failpoint!($name)
    };
}

/// Expands to a call in a build with failpoints.
#[cfg(all(feature = "failpoints", debug_assertions))]
#[doc(hidden)]
#[macro_export]
macro_rules! __failpoint {
    ($name:literal) => {
        $crate::failpoint::reach($name)
    };
}

/// Expands to nothing in a build without failpoints.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
#[doc(hidden)]
#[macro_export]
macro_rules! __failpoint {
    ($name:literal) => {};
}

#[cfg(feature = "failpoints")]
pub use armed::{bind, reach, unbind};

#[cfg(feature = "failpoints")]
mod armed {
    use std::{
        collections::HashMap,
        sync::{Arc, LazyLock},
    };

    use parking_lot::Mutex;

    type Action = Arc<dyn Fn() + Send + Sync>;

    static ACTIONS: LazyLock<Mutex<HashMap<String, Action>>> =
        LazyLock::new(|| Mutex::new(from_environment().into_iter().collect()));

    /// Runs `action` whenever the place is reached.
    pub fn bind(name: &str, action: impl Fn() + Send + Sync + 'static) {
        ACTIONS.lock().insert(name.to_owned(), Arc::new(action));
    }

    /// Lets the place be harmless again.
    pub fn unbind(name: &str) {
        ACTIONS.lock().remove(name);
    }

    /// Runs the action that is bound to the place; the macro calls this.
    pub fn reach(name: &str) {
        let action = ACTIONS.lock().get(name).cloned();
        if let Some(action) = action {
            action();
        }
    }

    /// `GESTA_FAILPOINT=name:hits` kills the process at the given hit.
    fn from_environment() -> Option<(String, Action)> {
        let setting = std::env::var("GESTA_FAILPOINT").ok()?;
        let (name, hits) = setting.split_once(':')?;
        let left = Mutex::new(hits.parse::<u64>().ok()?);
        let action = move || {
            let mut left = left.lock();
            *left = left.saturating_sub(1);
            if *left == 0 {
                kill_self();
            }
        };
        Some((name.to_owned(), Arc::new(action)))
    }

    /// Ends the process at once: no destructor, no buffer, no handler runs.
    fn kill_self() {
        let pid = std::process::id().to_string();
        let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
        std::process::abort();
    }
}
