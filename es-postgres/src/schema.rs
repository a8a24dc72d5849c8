//! The schema of the user's choice, in every statement: a pooler in between may
//! hand each one to another session, so that no `search_path` would last.

use es_core::{StoreError, StoreErrorKind};

/// As long as PostgreSQL lets a name be: it would cut off the rest.
const NAME_BYTES: usize = 63;

/// The name of the schema, quoted, and the number that its locks bear.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    name: String,
    quoted: String,
    hash: u64,
}

impl Schema {
    pub(crate) fn new(name: &str) -> Result<Self, StoreError> {
        if name.is_empty() || name.len() > NAME_BYTES || name.contains('\0') {
            let message = format!("a schema has a name of 1 to {NAME_BYTES} bytes, not {name:?}");
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        Ok(Self { name: name.to_owned(), quoted, hash })
    }

    /// The statement with `{schema}` filled in, and `{store}`. The name comes last
    /// and is not looked at again, as it may contain anything that is meant here;
    /// only its own hash it does not contain.
    pub(crate) fn sql(&self, statement: &str) -> String {
        let statement = statement
            .replace("{store}", &self.number().to_string())
            .replace("$$", &format!("$gesta_{:016x}$", self.hash));
        let in_text = self.quoted.replace('\'', "''");
        let mut sql = String::with_capacity(statement.len());
        for part in statement.split_inclusive("{schema}") {
            match part.strip_suffix("{schema}") {
                Some(before) => {
                    let name = if before.ends_with('\'') { &in_text } else { &self.quoted };
                    sql.extend([before, name]);
                }
                None => sql.push_str(part),
            }
        }
        sql
    }

    /// The channel on which its processes wake each other.
    pub(crate) fn channel(&self) -> String {
        format!("gesta_{:016x}", self.hash)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Sixteen bits, of which the highest is set: that keeps away from the small
    /// numbers that people give to advisory locks. No two stores of a database may
    /// share one: each would take the other's floor for its own.
    pub(crate) fn number(&self) -> i32 {
        let [low, high, ..] = self.hash.to_le_bytes();
        0x8000 | i32::from(high) << 8 | i32::from(low)
    }
}
