//! Every program is short, and every program runs.

use std::process::Command;

/// Most lines of one program.
const LINES: usize = 99;

macro_rules! ladder {
    ($($program:ident $file:literal;)*) => {$(
        #[test]
        fn $program() {
            let lines = include_str!(concat!("../", $file, ".rs")).lines().count();
            assert!(lines <= LINES, "{} has {lines} lines", $file);
            run(env!(concat!("CARGO_BIN_EXE_", $file)));
        }
    )*};
}

ladder! {
    p01_first_account "01-first-account";
    p02_rejecting "02-rejecting";
    p03_reading_back "03-reading-back";
    p04_projection "04-projection";
    p05_rebuild "05-rebuild";
    p06_snapshot "06-snapshot";
    p07_evolving_an_event "07-evolving-an-event";
    p08_decision_over_a_query "08-decision-over-a-query";
    p09_idempotent_commands "09-idempotent-commands";
    p10_testing "10-testing";
    p11_several_aggregates "11-several-aggregates";
    p12_layers "12-layers";
    p13_event_bus "13-event-bus";
    p14_saga "14-saga";
}

fn run(program: &str) {
    let output = Command::new(program).output().expect("the program was built");
    let printed = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed\n{printed}\n{failed}");
    assert!(!printed.is_empty(), "{program} prints nothing");
}
