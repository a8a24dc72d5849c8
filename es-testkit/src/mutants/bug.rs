/// The bugs.
///
/// ```
/// use es_testkit::mutants::Bug;
///
/// assert!(Bug::ALL.len() >= 10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bug {
    /// Expected versions are not checked.
    ConflictCheckLost,
    /// An exact version is taken if the stream is one ahead of it.
    ExactOffByOne,
    /// Append ids are ignored: a retry makes a second copy.
    RetryDoubled,
    /// Append ids are only remembered for writes at an exact version.
    IdOnlyForExact,
    /// A retry after the own success is told that it conflicts.
    RetryConflicts,
    /// A batch that conflicts at its last write leaves the earlier ones.
    PartialBatch,
    /// A conflict returns one unseen event too few.
    ConflictTailShort,
    /// A conflict returns the whole stream as unseen.
    ConflictTailLong,
    /// A read of a category shows every tenant.
    TenantLeak,
    /// A limit backwards gives the oldest events.
    BackwardsLimitWrong,
    /// Conditions over the log are ignored.
    UnlessIgnored,
    /// A condition sees the event at its own position.
    UnlessOffByOne,
    /// A release of a claim does nothing.
    ClaimNotReleased,
    /// A page says that it came further than it did.
    ThroughTooFar,
    /// Payloads that are JSON are written anew.
    PayloadRewritten,
    /// The last event of a full page is lost.
    PageBoundaryLoses,
    /// A follower loses what comes while it goes from the past to the present.
    HandOverMisses,
    /// A follower is offered an event twice where the past meets the present.
    HandOverDoubles,
    /// A follower's filters are forgotten.
    FollowForgetsFilter,
    /// A read from a version begins one event late, as a load does that takes
    /// a snapshot for newer than it is.
    TailOneShort,
    /// The end of a stream looks as long as a reader believes, so that a
    /// snapshot that is ahead of the log is used.
    EndInvented,
    /// A read from a snapshot brings the event that it was made of, and none after it.
    SnapshotWithoutTail,
    /// A tag is taken as the beginning of a tag.
    TagIsPrefix,
    /// A dropped append has gone half its way: the first of two writes.
    DroppedAppendHalfDone,
    /// Two appends at once may take the same version.
    CheckThenAct,
}

impl Bug {
    /// Every bug.
    pub const ALL: &[Self] = &[
        Self::ConflictCheckLost,
        Self::ExactOffByOne,
        Self::RetryDoubled,
        Self::IdOnlyForExact,
        Self::RetryConflicts,
        Self::PartialBatch,
        Self::ConflictTailShort,
        Self::ConflictTailLong,
        Self::TenantLeak,
        Self::BackwardsLimitWrong,
        Self::UnlessIgnored,
        Self::UnlessOffByOne,
        Self::ClaimNotReleased,
        Self::ThroughTooFar,
        Self::PayloadRewritten,
        Self::PageBoundaryLoses,
        Self::HandOverMisses,
        Self::HandOverDoubles,
        Self::FollowForgetsFilter,
        Self::TailOneShort,
        Self::EndInvented,
        Self::SnapshotWithoutTail,
        Self::TagIsPrefix,
        Self::DroppedAppendHalfDone,
        Self::CheckThenAct,
    ];
}
