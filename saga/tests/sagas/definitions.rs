use saga::{Definition, DefinitionError, Path, Step, Work};

fn step(name: &str) -> Step<()> {
    Step::new(name, |_: Work<()>| async { Ok(()) })
}

fn refused(path: Path<()>) -> DefinitionError {
    Definition::new("trip", 1, path).expect_err("a graph that cannot be run")
}

fn both(one: &str, other: &str) -> (String, String) {
    (one.into(), other.into())
}

#[test]
fn a_step_that_can_be_compensated_may_not_follow_the_pivot() {
    let path = Path::of(step("charge").pivot()).step(step("hotel"));
    let (step, pivot) = both("hotel", "charge");
    assert_eq!(refused(path), DefinitionError::AfterPivot { step, pivot });
}

#[test]
fn a_step_that_can_be_compensated_may_not_run_beside_the_pivot() {
    let path = Path::new().all([Path::of(step("charge").pivot()), Path::of(step("hotel"))]);
    let (step, pivot) = both("hotel", "charge");
    assert_eq!(refused(path), DefinitionError::BesidePivot { step, pivot });
}

#[test]
fn a_run_may_not_come_to_two_pivots() {
    let path = Path::of(step("charge").pivot()).step(step("ship").pivot());
    let (first, second) = both("charge", "ship");
    assert_eq!(refused(path), DefinitionError::SecondPivot { first, second });
}

#[test]
fn each_of_two_branches_may_have_its_pivot() {
    let card = Path::of(step("card").pivot());
    let path = Path::new().either("by_card", |()| true, card, Path::of(step("cash").pivot()));
    assert!(Definition::new("trip", 1, path).is_ok());
}

#[test]
fn names_are_used_once_and_can_be_written() {
    let path = Path::of(step("hotel")).step(step("hotel"));
    assert_eq!(refused(path), DefinitionError::NameTwice { name: "hotel".into() });
    for name in ["", "a hotel", "hotel-7", "hotel\n"] {
        assert!(matches!(refused(Path::of(step(name))), DefinitionError::Name(_)), "{name:?}");
    }
}

#[test]
fn a_graph_is_bounded() {
    let path = Path::new().repeat("again", 501, |()| true, Path::of(step("knock")));
    assert_eq!(refused(path), DefinitionError::TooManySteps);
    assert_eq!(refused(Path::new()), DefinitionError::Empty);
}

#[test]
fn the_rounds_of_a_loop_have_steps_of_their_own() {
    let path = Path::new().repeat("again", 3, |()| true, Path::of(step("knock")));
    let doors = Definition::new("doors", 1, path).expect("a graph");
    assert_eq!(doors.steps().collect::<Vec<_>>(), ["knock", "knock.2", "knock.3"]);
}

#[test]
fn a_loop_may_stand_in_a_loop() {
    let inner = Path::new().repeat("inner", 2, |()| true, Path::of(step("knock")));
    let path = Path::new().repeat("outer", 2, |()| true, inner);
    let doors = Definition::new("doors", 1, path).expect("a graph");
    assert_eq!(doors.steps().collect::<Vec<_>>(), ["knock.1", "knock.2", "knock.2.1", "knock.2.2"]);
}
