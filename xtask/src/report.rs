//! Runs steps, and keeps what the closing lines say about them.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// What ran, how long it took, and what did not run.
pub(crate) struct Report {
    started: Instant,
    steps: Vec<(String, Duration)>,
    lines: Vec<String>,
    not_run: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { started: now(), steps: Vec::new(), lines: Vec::new(), not_run: Vec::new() }
    }

    /// Runs one step, which may take its time and must succeed.
    pub(crate) fn step<T>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        println!("xtask: {name}");
        let started = now();
        let outcome = work(self).with_context(|| format!("{name} failed"));
        let took = started.elapsed();
        println!("xtask: {name} took {}", seconds(took));
        self.steps.push((name.to_owned(), took));
        outcome
    }

    /// Runs one command as a step.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) -> Result<()> {
        self.step(name, |report| report.run(command))
    }

    /// Runs one command, and keeps the summaries of its test runner.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<()> {
        let output = stream(command)?;
        self.lines.extend(output.into_iter().filter(|line| is_summary(line)));
        Ok(())
    }

    /// Says a line now, and again at the end.
    pub(crate) fn say(&mut self, line: String) {
        println!("{line}");
        self.lines.push(line);
    }

    /// Something could not be had here: it is named at the end.
    pub(crate) fn not_run(&mut self, name: impl Into<String>) {
        self.not_run.push(name.into());
    }

    /// Prints the closing lines.
    pub(crate) fn close(self, chore: &str, outcome: Result<()>) -> ExitCode {
        println!();
        for (name, took) in &self.steps {
            println!("{:>8}  {name}", seconds(*took));
        }
        for line in &self.lines {
            println!("{line}");
        }
        for name in &self.not_run {
            println!("not run: {name}");
        }
        let took = seconds(self.started.elapsed());
        match outcome {
            Ok(()) => {
                println!("xtask {chore}: passed in {took}, {} not run", self.not_run.len());
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("xtask {chore}: FAILED after {took}: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Runs a command to its success, showing its output while it comes.
fn stream(command: &mut Command) -> Result<Vec<String>> {
    println!("$ {}", shown(command));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{}` did not start", shown(command)))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let lines = std::thread::scope(|scope| {
        let err = scope.spawn(|| echo(err));
        let mut lines = echo(out);
        lines.extend(err.join().expect("reading lines does not panic"));
        lines
    });
    let status = child.wait()?;
    ensure!(status.success(), "`{}` ended with {status}", shown(command));
    Ok(lines)
}

fn echo(pipe: Option<impl Read>) -> Vec<String> {
    let lines = pipe.into_iter().flat_map(|pipe| BufReader::new(pipe).split(b'\n'));
    lines
        .map_while(Result::ok)
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .inspect(|line| println!("{line}"))
        .collect()
}

/// Whether a line sums up a run of cargo test or of nextest.
fn is_summary(line: &str) -> bool {
    let cargo_test = line.starts_with("test result:") && !line.contains(" 0 passed; 0 failed");
    cargo_test || line.contains(" tests run: ")
}

/// Runs a command to its success and hands over what it said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed:\n{errors}", shown(command));
    Ok(String::from_utf8(output.stdout)?)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[expect(clippy::disallowed_methods, reason = "a chore may look at the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
