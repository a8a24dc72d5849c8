//! A rebuild of the flights that is killed again and again, while an import goes on, a
//! worker follows it, and somebody asks all the time.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    Length,
    crash::{Moments, answer, without_seconds},
    report::{Report, output},
    workspace::Workspace,
};

/// Kills that have to land in a rebuild.
const KILLS: usize = 5;
/// Most rebuilds until they have.
const REBUILDS: usize = 40;

pub(crate) fn run(report: &mut Report, length: Length) -> Result<()> {
    let flights = match length {
        Length::Short => 40_000,
        Length::Full => 336_776,
    };
    report.step("rebuild", |report| rebuild(report, flights))
}

fn rebuild(report: &mut Report, flights: u64) -> Result<()> {
    let target = Workspace::read()?.target()?;
    let folder = target.join("xtask/rebuild");
    let scene = Scene { program: target.join("release/flights"), folder, flights };
    let mut moments = Moments::new()?;
    scene.clear()?;
    let undisturbed = answer(&output(&mut scene.everything(flights))?)?;
    let expected = undisturbed["rebuild_seconds"].as_f64().context("no rebuild_seconds")?;
    scene.clear()?;
    // Half a year answers while the other half is imported.
    output(&mut scene.everything(flights / 2))?;
    let asked = scene.disturbed(&mut moments, expected)?;
    let survived = scene.show()?;
    scene.clear()?;
    let undisturbed = without_seconds(undisturbed);
    ensure!(survived == undisturbed, "{survived} is not {undisturbed}; seed {}", moments.seed);
    report.say(format!(
        "rebuild: {KILLS} kills, {asked} questions answered meanwhile, never by less than before, \
         and {} events in the end; seed {}",
        survived["events"], moments.seed
    ));
    Ok(())
}

/// The program, and where its store is.
struct Scene {
    program: PathBuf,
    folder: PathBuf,
    flights: u64,
}

impl Scene {
    /// Imports the rest, follows, asks and kills; returns how many questions were answered.
    fn disturbed(&self, moments: &mut Moments, expected: f64) -> Result<u64> {
        let (asked, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let mut worker = Running(self.spawn(&["project"])?);
        let mut import = Running(self.spawn(&["import", "--limit", &self.flights.to_string()])?);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| self.ask(&asked, &is_over));
            let rebuilt = self.killed(moments, expected).and_then(|()| {
                let imported = import.0.wait()?;
                ensure!(imported.success(), "the import ended with {imported}");
                ensure!(worker.0.try_wait()?.is_none(), "the worker has ended");
                output(&mut self.command(&["rebuild"])).map(drop)
            });
            is_over.store(true, Ordering::SeqCst);
            let answered = asking.join().expect("asking does not panic");
            rebuilt.and(answered)
        })?;
        Ok(asked.into_inner())
    }

    /// Begins rebuilds until enough of them were killed on the way.
    fn killed(&self, moments: &mut Moments, expected: f64) -> Result<()> {
        let mut landed = 0;
        for _ in 0..REBUILDS {
            let after = moments.gaps(1, expected)[0];
            let mut rebuild = Running(self.spawn(&["rebuild"])?);
            std::thread::sleep(after.max(Duration::from_millis(20)));
            if let Some(status) = rebuild.0.try_wait()? {
                ensure!(status.success(), "a rebuild ended with {status}");
                continue;
            }
            rebuild.0.kill()?;
            rebuild.0.wait()?;
            landed += 1;
            println!("a rebuild was killed after {after:.2?}");
            if landed == KILLS {
                return Ok(());
            }
        }
        bail!("only {landed} kills landed in a rebuild");
    }

    /// Asks again and again: each answer shows as much as the one before, or more.
    fn ask(&self, asked: &AtomicU64, is_over: &AtomicBool) -> Result<()> {
        let mut most = 0;
        while !is_over.load(Ordering::SeqCst) {
            let shown = self.show()?["events"].as_u64().context("no events")?;
            ensure!(shown >= most, "{shown} events after {most}: a half-built model has answered");
            most = shown;
            asked.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn show(&self) -> Result<Value> {
        Ok(without_seconds(answer(&output(&mut self.command(&["show", "--json"]))?)?))
    }

    fn everything(&self, flights: u64) -> Command {
        self.command(&["--json", "--limit", &flights.to_string()])
    }

    fn spawn(&self, words: &[&str]) -> Result<Child> {
        let told = File::create(self.folder.join(words[0]))?;
        let mut command = self.command(words);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(told).spawn()?)
    }

    fn command(&self, words: &[&str]) -> Command {
        let store = format!("sqlite:{}", self.folder.join("flights.db").display());
        let mut command = Command::new(&self.program);
        command.args(words).args(["--store", &store]);
        command
    }

    /// An empty folder for the next file.
    fn clear(&self) -> Result<()> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        Ok(std::fs::create_dir_all(&self.folder)?)
    }
}

/// A program that ends with whoever has started it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
