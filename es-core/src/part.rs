use std::fmt;

use crate::{Name, Tenant};

/// How many slices the keys of a read model fall into.
pub const SLICES: u16 = 1_024;

/// Some slices of the keys of a read model, from the first to the last.
///
/// A key falls into one slice, the same for ever and everywhere. Whoever keeps
/// these slices keeps the rows of those keys and no others.
///
/// ```
/// use es_core::{Slices, Tenant};
///
/// let halves = Slices::split(2);
/// let slice = Slices::slice_of(&Tenant::default(), "ada");
/// assert_eq!(halves.iter().filter(|half| half.contains(slice)).count(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slices {
    /// The first slice.
    pub first: u16,
    /// The last slice.
    pub last: u16,
}

impl Slices {
    /// Every slice.
    pub const ALL: Self = Self { first: 0, last: SLICES - 1 };

    /// All slices, split into so many parts of about one size.
    ///
    /// # Panics
    ///
    /// If there are to be no parts, or more than [`SLICES`].
    pub fn split(parts: u16) -> Vec<Self> {
        assert!((1..=SLICES).contains(&parts), "there are 1 to {SLICES} parts, not {parts}");
        Self::ALL.divided(parts)
    }

    /// These slices, split into at most so many parts of about one size.
    pub fn divided(self, parts: u16) -> Vec<Self> {
        let all = u32::from(self.last - self.first) + 1;
        let parts = u32::from(parts).clamp(1, all);
        let bound = |part: u32| self.first + u16::try_from(all * part / parts).unwrap_or_default();
        (0..parts).map(|part| Self { first: bound(part), last: bound(part + 1) - 1 }).collect()
    }

    /// These slices and those that follow, if they do.
    pub fn joined(self, next: Self) -> Option<Self> {
        let follows = self.last.checked_add(1) == Some(next.first);
        let is_sound = next.first <= next.last && next.last < SLICES;
        (follows && is_sound).then_some(Self { first: self.first, last: next.last })
    }

    /// Whether the slice is one of them.
    pub fn contains(self, slice: u16) -> bool {
        (self.first..=self.last).contains(&slice)
    }

    /// The slice of a key: FNV-1a over tenant and key, its upper bits folded in.
    pub fn slice_of(tenant: &Tenant, key: &str) -> u16 {
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let bytes = tenant.as_str().bytes().chain([0]).chain(key.bytes());
        let hash = bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        let folded = hash ^ (hash >> 32);
        u16::try_from(folded % u64::from(SLICES)).unwrap_or_default()
    }
}

impl fmt::Display for Slices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A part of one build of a read model: it has a checkpoint of its own, and one
/// owner at a time.
///
/// ```
/// use es_core::{Name, Part, Slices};
///
/// let part = Part::new(Name::new("balances")?, 2, Slices::ALL);
/// assert_eq!(part.to_string(), "balances, build 2, slices 0-1023");
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// The read model.
    pub model: Name,
    /// Which build of it, counted from 1.
    pub build: u64,
    /// Which of its keys.
    pub slices: Slices,
}

impl Part {
    /// These slices of this build of the model.
    pub fn new(model: Name, build: u64, slices: Slices) -> Self {
        Self { model, build, slices }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, build {}, slices {}", self.model, self.build, self.slices)
    }
}
