/// How one model is kept.
///
/// ```
/// use cqrs::{ModelSettings, OnChange, Poison};
///
/// let settings = ModelSettings::new().parts(8).on_poison(Poison::Pause).on_change(OnChange::Refuse);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct ModelSettings {
    pub(crate) parts: u16,
    pub(crate) poison: Poison,
    pub(crate) on_change: OnChange,
    pub(crate) tries: u32,
}

impl ModelSettings {
    /// In one part; an event that it cannot take is parked; if its code has
    /// changed it is built anew.
    pub fn new() -> Self {
        Self { parts: 1, poison: Poison::Park, on_change: OnChange::Rebuild, tries: 3 }
    }

    /// How many parts a new build has, from 1 to [`SLICES`](es_core::SLICES). A
    /// build that is there keeps its own, see
    /// [`Projector::divide`](crate::Projector::divide).
    ///
    /// # Panics
    ///
    /// If there are none, or more.
    pub fn parts(mut self, parts: u16) -> Self {
        assert!((1..=es_core::SLICES).contains(&parts), "a model has 1 to 1024 parts");
        self.parts = parts;
        self
    }

    /// What becomes of an event that it cannot take.
    pub fn on_poison(mut self, poison: Poison) -> Self {
        self.poison = poison;
        self
    }

    /// What happens if its code has changed since it was built.
    pub fn on_change(mut self, on_change: OnChange) -> Self {
        self.on_change = on_change;
        self
    }

    /// How often a free-form projection or a reaction gets an event that it refuses,
    /// before that counts as a failure: 3.
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// What becomes of an event that a model cannot take. It is never passed by in
/// silence.
///
/// ```
/// assert_eq!(cqrs::Poison::default(), cqrs::Poison::Park);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Poison {
    /// It is kept beside the model, and so are all later ones of its sequence: of
    /// its row, or of its stream. All else goes on.
    ///
    /// What is kept is in the store, however much it is. A part remembers the names of the
    /// sequences that stand still, and reads no more than a page of each when it changes
    /// its owner. With 10,000 of them something is wrong with the model, and the part pauses.
    #[default]
    Park,
    /// The model stands still before it.
    Pause,
    /// It is kept beside the model, which goes on without it.
    Skip,
}

/// What happens if the code of a model, its `REVISION`, is not the one that has
/// built it.
///
/// ```
/// assert_eq!(cqrs::OnChange::default(), cqrs::OnChange::Rebuild);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnChange {
    /// It is built anew, while the old rows answer.
    #[default]
    Rebuild,
    /// It does not start.
    Refuse,
}
