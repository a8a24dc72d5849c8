use std::fmt;

/// What a history must keep to.
///
/// ```
/// use es_testkit::history::Rule;
///
/// assert_eq!(Rule::Dense.to_string(), "rule 4: versions are dense, positions increase");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// 1. What was acknowledged is there once, at the returned place.
    Acknowledged,
    /// 2. What was refused is not there.
    Refused,
    /// 3. What is unknown is there wholly or not at all, once at most, and does
    ///    not come after it was read as absent.
    Unknown,
    /// 4. Versions are dense from 1, positions increase.
    Dense,
    /// 5. What was expected was so.
    Expected,
    /// 6. What was acknowledged before another call began stands before it.
    RealTime,
    /// 7. Each read is a prefix of the log, between its beginning and its end.
    Prefix,
    /// 8. Each follower is offered the log in order, with repetitions only
    ///    after a restart.
    Offered,
    /// 9. A projection or snapshot equals a fresh fold.
    Fold,
    /// 10. Each effect happens once.
    Effect,
}

impl Rule {
    /// Its number, from 1.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Acknowledged => "what was acknowledged is there once, at the returned place",
            Self::Refused => "what was refused is not there",
            Self::Unknown => {
                "what is unknown is there wholly or not at all, and does not come late"
            }
            Self::Dense => "versions are dense, positions increase",
            Self::Expected => "what was expected was so",
            Self::RealTime => "what was acknowledged before stands before",
            Self::Prefix => "each read is a prefix of the log",
            Self::Offered => "each follower is offered the log in order",
            Self::Fold => "a projection equals a fresh fold",
            Self::Effect => "each effect happens once",
        };
        write!(f, "rule {}: {words}", self.number())
    }
}

/// A rule that was broken, and how.
///
/// ```
/// use es_testkit::history::{Rule, Violation};
///
/// let violation = Violation { rule: Rule::Effect, what: "mail-7 was sent twice".into() };
/// assert_eq!(violation.to_string(), "rule 10: each effect happens once: mail-7 was sent twice");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// How it was broken.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}
