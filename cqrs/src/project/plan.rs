//! What is to be done about a model, by what is known of its builds. Pure.

use es_core::{Build, BuildChange, Name, Part, Slices};

use super::{
    handler::{About, Rebuilds},
    settings::OnChange,
};
use crate::ProjectionError;

/// What is to be done about one model.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// A build to begin, before anything else.
    pub(crate) begin: Option<BuildChange>,
    /// The parts to keep of the build that answers.
    pub(crate) serving: Vec<Part>,
    /// The parts to keep of a build that is to answer.
    pub(crate) beside: Vec<Part>,
    /// It has to be emptied and built by this code in its place.
    pub(crate) in_place: bool,
    /// Builds that have been replaced.
    pub(crate) discard: Vec<u64>,
    /// It cannot be kept by this program.
    pub(crate) refusal: Option<ProjectionError>,
}

impl Plan {
    /// By these builds of the model, in the order of their numbers.
    pub(crate) fn new(about: &About, builds: &[&Build]) -> Self {
        let mut plan = Self::default();
        let Some(serving) = builds.iter().find(|build| build.serves) else {
            plan.begin = Some(next(about, builds));
            return plan;
        };
        let gone = |build: &&&Build| {
            !build.serves && (build.number < serving.number || build.parts.is_empty())
        };
        plan.discard = builds.iter().filter(gone).map(|build| build.number).collect();
        let code = about.revision;
        let is_ours = serving.revision == code || about.rebuilds == Rebuilds::Never;
        if is_ours {
            plan.serving = if serving.is_inline() { Vec::new() } else { parts(serving) };
        } else if serving.revision > code || about.settings.on_change == OnChange::Refuse {
            let (name, built) = (about.name.to_string(), serving.revision);
            plan.refusal = Some(ProjectionError::Changed { name, built, code });
            return plan;
        }
        match (about.rebuilds, beside(about, builds)) {
            (Rebuilds::Beside, Some(build)) => plan.beside = parts(build),
            (Rebuilds::Beside, None) if !is_ours => plan.begin = Some(next(about, builds)),
            (Rebuilds::InPlace, _) => plan.in_place = !is_ours,
            _ => {}
        }
        plan
    }
}

/// The latest build of this code that is to answer.
pub(crate) fn beside<'a>(about: &About, builds: &[&'a Build]) -> Option<&'a Build> {
    let serving = builds.iter().find(|build| build.serves).map_or(0, |build| build.number);
    let ours = |build: &&&Build| {
        build.revision == about.revision && build.number > serving && !build.parts.is_empty()
    };
    builds.iter().rfind(|build| ours(build)).copied()
}

/// Begins another build by this code.
pub(crate) fn next(about: &About, builds: &[&Build]) -> BuildChange {
    let number = builds.iter().map(|build| build.number).max().unwrap_or(0) + 1;
    let slices = Slices::split(about.settings.parts);
    BuildChange::begin(about.name.clone(), number).revision(about.revision).parts(slices)
}

pub(crate) fn of<'a>(model: &Name, builds: &'a [Build]) -> Vec<&'a Build> {
    builds.iter().filter(|build| build.model == *model).collect()
}

fn parts(build: &Build) -> Vec<Part> {
    build.parts.iter().map(|part| build.part(part.slices)).collect()
}

#[cfg(test)]
mod tests {
    use es_core::PartState;

    use super::*;
    use crate::project::settings::ModelSettings;

    fn about(revision: u64) -> About {
        About {
            name: Name::from_static("m"),
            types: Vec::new(),
            revision,
            settings: ModelSettings::new(),
            rebuilds: Rebuilds::Beside,
            start: crate::StartAt::Beginning,
        }
    }

    fn build(number: u64, revision: u64, serves: bool) -> Build {
        let mut build = Build::new(Name::from_static("m"), number);
        (build.revision, build.serves) = (revision, serves);
        build.parts = vec![PartState::new(Slices::ALL)];
        build
    }

    fn plan(revision: u64, builds: &[Build]) -> Plan {
        Plan::new(&about(revision), &builds.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_model_that_nobody_knows_is_begun() {
        let begun = BuildChange::begin(Name::from_static("m"), 1).revision(3);
        assert_eq!(plan(3, &[]).begin, Some(begun));
    }

    #[test]
    fn what_this_code_has_built_is_kept() {
        let plan = plan(3, &[build(1, 3, true)]);
        assert_eq!((plan.serving.len(), plan.beside.len()), (1, 0));
        assert!(plan.begin.is_none() && plan.refusal.is_none());
    }

    #[test]
    fn what_older_code_has_built_is_built_anew_beside_it() {
        let begun = plan(4, &[build(1, 3, true)]);
        assert_eq!(begun.begin.map(|begin| begin.build), Some(2));
        assert!(begun.serving.is_empty(), "old rows are not touched by new code");
        let resumed = plan(4, &[build(1, 3, true), build(2, 4, false)]);
        assert!(resumed.begin.is_none());
        assert_eq!(resumed.beside[0].build, 2);
    }

    #[test]
    fn old_code_does_not_take_back_what_newer_code_has_built() {
        let plan = plan(3, &[build(2, 4, true)]);
        assert!(matches!(plan.refusal, Some(ProjectionError::Changed { built: 4, code: 3, .. })));
        assert!(plan.begin.is_none() && plan.serving.is_empty());
    }

    #[test]
    fn what_was_replaced_is_discarded_and_what_others_build_is_not() {
        let plan = plan(4, &[build(1, 3, false), build(2, 4, true), build(3, 5, false)]);
        assert_eq!(plan.discard, [1]);
        assert!(plan.beside.is_empty());
    }
}
