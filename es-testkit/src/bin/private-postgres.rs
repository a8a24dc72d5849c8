//! A Postgres for a while: says its URL, and stops when its input ends. Each
//! argument is a setting, such as `max_connections=300`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(unix)]
fn run() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let settings = words.iter().map(|word| word.split_once('=').ok_or("a setting is NAME=VALUE"));
    let settings = settings.collect::<Result<Vec<_>, _>>()?;
    let postgres = es_testkit::servers::PrivatePostgres::start_with(&settings)?;
    println!("{}", postgres.url());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

#[cfg(not(unix))]
fn run() -> Result<(), Box<dyn std::error::Error>> {
    Err("a private Postgres is started on Unix only".into())
}
