use std::{fs::OpenOptions, io::Write};

/// Says what a test could not do on this machine, so that nobody takes its
/// silence for a pass. It goes to stderr, and as a line to the end of the file
/// that `GESTA_NOT_RUN` names, if it names one.
///
/// ```
/// # let server: Option<()> = None;
/// let Some(server) = server else {
///     return es_testkit::not_run("failover: there is no server here");
/// };
/// ```
///
/// # Panics
///
/// If the file cannot be written.
pub fn not_run(what: &str) {
    eprintln!("not run: {what}");
    let Some(file) = std::env::var_os("GESTA_NOT_RUN") else { return };
    let file = OpenOptions::new().append(true).create(true).open(file);
    let written = file.and_then(|mut file| file.write_all(format!("{what}\n").as_bytes()));
    written.expect("the file that GESTA_NOT_RUN names can be written");
}
