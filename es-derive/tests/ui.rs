//! What a wrong use is told: `tests/ui/*.rs` with the errors beside them.
//!
//! After a change on purpose, `TRYBUILD=overwrite cargo test -p es-derive
//! --test ui` writes them anew; read the difference before you commit it.

use trybuild::TestCases;

#[test]
fn every_wrong_use_is_told_what_to_write() {
    let cases = TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    // These come as far as the types. trybuild leaves out the features of
    // es-core, so with schemas there would be other errors before theirs.
    if !cfg!(feature = "schema") {
        cases.compile_fail("tests/ui/types/*.rs");
    }
}
