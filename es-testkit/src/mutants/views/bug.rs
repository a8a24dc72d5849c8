/// The bugs of read models.
///
/// ```
/// use es_testkit::mutants::ViewBug;
///
/// assert!(ViewBug::ALL.len() >= 10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ViewBug {
    /// A commit looks at the position alone, not at the epoch.
    EpochIgnored,
    /// A commit looks at the epoch alone, not at the position.
    PositionIgnored,
    /// Two commits at once may both find the checkpoint as it was.
    CheckThenWrite,
    /// A commit to a part that is not there any more succeeds, and does nothing.
    GoneForgiven,
    /// What is parked is found among the rows.
    ParkedAmongRows,
    /// A row that was deleted is left out of its page only after the page was cut.
    DeletedTakesPlace,
    /// The newest build answers, finished or not.
    NewestAnswers,
    /// Who begins a build that another has begun is told that it succeeded.
    BegunTwice,
    /// A number that begins again has the epochs that it had.
    EpochsBeginAnew,
    /// A build answers that is behind the one before it.
    ServesBehind,
    /// A build answers that does not look as was said.
    ServesUnseen,
    /// A discarded build leaves what it has parked.
    ParkedLeft,
    /// Parts that are divided keep their epoch.
    DividedKeepEpoch,
    /// Parts are joined wherever they stand.
    JoinedAnywhere,
    /// A part is taken although another has a lease of it.
    LeaseIgnored,
    /// Two who take a part at once may both find it free.
    LookThenTake,
    /// Who takes a part keeps the epoch of the owner before.
    TakenKeepsEpoch,
    /// A lease does not end.
    LeaseForEver,
    /// A lease is renewed for whoever names the part's owner, under any epoch.
    RenewIgnoresEpoch,
    /// A lease is renewed for whoever names its epoch.
    RenewIgnoresOwner,
    /// A part is handed over in name only: its lease goes on.
    HandOverIgnored,
    /// A commit does not begin the lease anew.
    CommitKeepsLease,
}

impl ViewBug {
    /// Every bug.
    pub const ALL: &[Self] = &[
        Self::EpochIgnored,
        Self::PositionIgnored,
        Self::CheckThenWrite,
        Self::GoneForgiven,
        Self::ParkedAmongRows,
        Self::DeletedTakesPlace,
        Self::NewestAnswers,
        Self::BegunTwice,
        Self::EpochsBeginAnew,
        Self::ServesBehind,
        Self::ServesUnseen,
        Self::ParkedLeft,
        Self::DividedKeepEpoch,
        Self::JoinedAnywhere,
        Self::LeaseIgnored,
        Self::LookThenTake,
        Self::TakenKeepsEpoch,
        Self::LeaseForEver,
        Self::RenewIgnoresEpoch,
        Self::RenewIgnoresOwner,
        Self::HandOverIgnored,
        Self::CommitKeepsLease,
    ];
}
