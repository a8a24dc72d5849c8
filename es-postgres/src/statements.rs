//! A statement of which some lines are wanted only now and then.

use std::sync::Arc;

use crate::schema::Schema;

/// Each of its forms.
#[derive(Debug)]
pub(crate) struct Statements([Arc<str>; 8]);

impl Statements {
    /// A line that ends with `-- if PART` belongs to the part of that name, one
    /// with `-- unless PART` to what stands in its place.
    pub(crate) fn new(schema: &Schema, sql: &str, parts: [&str; 3]) -> Self {
        Self(std::array::from_fn(|form| {
            let has = |part: &str| {
                let at = parts.iter().position(|one| *one == part);
                at.map(|at| form >> at & 1 == 1)
            };
            let keeps = |line: &&str| match line.rsplit_once(" -- ").map(|(_, end)| end) {
                Some(end) if end.starts_with("if ") => has(&end[3..]) == Some(true),
                Some(end) if end.starts_with("unless ") => has(&end[7..]) == Some(false),
                _ => true,
            };
            let lines = sql.lines().filter(keeps).map(|line| line.split(" -- ").next());
            schema.sql(&lines.flatten().collect::<Vec<_>>().join("\n")).into()
        }))
    }

    /// The form with these parts.
    pub(crate) fn with(&self, parts: [bool; 3]) -> Arc<str> {
        let [one, two, four] = parts.map(usize::from);
        Arc::clone(&self.0[one | two << 1 | four << 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_the_lines_of_its_parts() {
        let schema = Schema::new("bank").unwrap();
        let sql = "SELECT -- what\nthis, -- if a\nthat, -- unless a\n1 FROM {schema}.t -- if b\n;";
        let statements = Statements::new(&schema, sql, ["a", "b", "c"]);
        assert_eq!(&*statements.with([true, false, false]), "SELECT\nthis,\n;");
        assert_eq!(&*statements.with([false, true, true]), "SELECT\nthat,\n1 FROM \"bank\".t\n;");
    }
}
