use std::io;

/// Why a server could not be had, or not be brought to do something.
///
/// ```
/// use es_testkit::servers::ServerError;
///
/// assert!(ServerError::Missing.to_string().contains("install the package `postgresql`"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Install the server, and try again.
    #[error(
        "no programs of a Postgres server here: install the package `postgresql`, \
         or name the folder of `initdb` and `postgres` in GESTA_POSTGRES_BIN"
    )]
    Missing,

    /// This machine, or this account on it, cannot do it.
    #[error("not possible here: {0}")]
    Unsupported(String),

    /// A program of the server ended badly, or was not ready in time.
    #[error("{program} failed:\n{said}")]
    Failed {
        /// Its name.
        program: String,
        /// The last that it said.
        said: String,
    },

    /// The machine did not do as it was told.
    #[error("input or output failed")]
    Io(#[from] io::Error),
}
