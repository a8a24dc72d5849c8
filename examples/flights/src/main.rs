//! Every flight that left New York City in 2013, as an event-sourced service:
//! a flight is an aggregate, each line of the data becomes commands, and four
//! read models follow beside the import, or in processes of their own.
//!
//! Kill it at any moment and start it again: it goes on where it was.

mod board;
mod data;
mod flight;
mod import;
mod models;
mod progress;
mod report;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Result, bail, ensure};
use clap::{Parser, Subcommand};
use flight::Flight;
use futures_util::StreamExt;
use gesta::{
    Checkpoints, Commands, EventStore, EventStoreExt, ModelSettings, Position, Projector, Read,
    Settings, Views,
    memory::{MemoryCheckpoints, MemoryStore, MemoryViews},
    postgres::PostgresOptions,
    sqlite::SqliteStore,
    stream_of,
};
use import::{import, now, seconds};
use models::{ByAircraft, ByCarrier, ByOrigin, ByRouteAndHour};
use progress::Line;
use report::{Models, Summary};

/// Events are made on one thread and freed on another, which glibc is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The names of the read models.
const MODELS: &[&str] = &["by-carrier", "by-origin", "by-aircraft", "by-route-and-hour"];
/// How long `show` waits for the read models.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a worker says how far it is.
const EVERY: Duration = Duration::from_secs(1);
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/flights.csv.gz");

#[derive(Parser)]
#[command(about = "Every flight that left New York City in 2013, as an event-sourced service")]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The data: a gzipped CSV file.
    #[arg(long, global = true, default_value = DATA)]
    data: PathBuf,
    /// Where the events go: sqlite:PATH, postgres://USER@HOST/DATABASE or memory:
    #[arg(long, global = true, default_value = "sqlite:flights.db")]
    store: String,
    /// The schema that holds them, in a PostgreSQL database.
    #[arg(long, global = true, default_value = "flights")]
    schema: String,
    /// At most this many flights.
    #[arg(long, global = true, default_value_t = u64::MAX)]
    limit: u64,
    /// Ends with one JSON object on standard output.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Imports what is missing, and leaves the read models to other processes. Without
    /// any subcommand the read models follow in this one, are rebuilt and shown.
    Import,
    /// Keeps a share of the read models, beside others that do so too.
    Project {
        /// What this worker is called in what it prints.
        #[arg(long, default_value_t = 1)]
        worker: u32,
        /// Ends when the read models show all flights.
        #[arg(long)]
        until_done: bool,
    },
    /// Waits until the read models show what is in the log, and shows them.
    Show,
    /// Builds the read models anew from history, while the old ones answer.
    Rebuild,
    /// A live table of departures.
    Board {
        /// Begins with the first event of the log.
        #[arg(long)]
        from_start: bool,
    },
    /// Shows the history and the state of one flight, UA-1545-2013-01-01-EWR.
    Flight {
        /// Carrier, number, day and origin.
        id: String,
    },
    /// Prints each event as it happens.
    Tail,
}

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "a program may start tasks as it likes")]
async fn main() -> Result<()> {
    // A task of its own runs beside the bus on the same workers, where the main
    // thread would have to be woken for each answer.
    tokio::spawn(run(Args::parse())).await?
}

async fn run(args: Args) -> Result<()> {
    match args.store.split_once(':') {
        Some(("sqlite", path)) => {
            let store = SqliteStore::open(path).await?;
            let service = Service { notes: Arc::new(store.clone()), views: store.clone(), store };
            service.run(&args).await?;
            service.store.close().await;
        }
        Some(("postgres" | "postgresql", _)) => {
            let store = PostgresOptions::new(&args.store).schema(&args.schema).open().await?;
            let service = Service { notes: Arc::new(store.clone()), views: store.clone(), store };
            service.run(&args).await?;
            service.store.close().await;
        }
        Some(("memory", _)) => {
            let notes = Arc::new(MemoryCheckpoints::new());
            let service = Service { notes, views: MemoryViews::new(), store: MemoryStore::new() };
            service.run(&args).await?;
        }
        _ => bail!(
            "--store takes sqlite:PATH, postgres://USER@HOST/DATABASE or memory:, not {:?}",
            args.store
        ),
    }
    Ok(())
}

struct Service<S, V> {
    store: S,
    views: V,
    notes: Arc<dyn Checkpoints>,
}

impl<S: EventStore + Clone, V: Views> Service<S, V> {
    async fn run(&self, args: &Args) -> Result<()> {
        let Some(what) = &args.what else { return self.everything(args).await };
        match what {
            What::Import => self.import(args).await.map(drop),
            What::Project { worker, until_done } => self.project(*worker, *until_done, args).await,
            What::Show => {
                let head = self.store.head().await?;
                self.projector().wait_for(head, MODELS, PATIENCE).await?;
                self.show(args, 0.0, 0.0).await
            }
            What::Rebuild => {
                let (seconds, _) = self.rebuild().await?;
                self.show(args, 0.0, seconds).await
            }
            What::Board { from_start } => {
                let head = self.store.head().await?;
                board::board(&self.store, if *from_start { Position::START } else { head }).await
            }
            What::Flight { id } => self.flight(id).await,
            What::Tail => self.tail().await,
        }
    }

    /// In four parts each, which workers share.
    fn projector(&self) -> Projector<V> {
        let in_parts = || ModelSettings::new().parts(4);
        Projector::new(self.store.clone(), self.views.clone())
            .view_with::<ByCarrier>(in_parts())
            .view_with::<ByOrigin>(in_parts())
            .view_with::<ByAircraft>(in_parts())
            .view_with::<ByRouteAndHour>(in_parts())
    }

    /// The seconds that the import takes.
    async fn import(&self, args: &Args) -> Result<f64> {
        let settings = Settings::<Flight>::new().cache(16_384);
        let commands = Commands::builder(self.store.clone()).aggregate(settings)?.build();
        let started = now();
        import(&commands, Arc::clone(&self.notes), &args.data, args.limit).await?;
        Ok(seconds(started))
    }

    /// Imports, follows and rebuilds in one process.
    async fn everything(&self, args: &Args) -> Result<()> {
        let projector = self.projector();
        let projecting = projector.start();
        let imported = self.import(args).await?;
        projecting.wait_for(self.store.head().await?).await?;
        projecting.stop().await.map_err(|error| anyhow::anyhow!("{error}"))?;

        let followed = Models::read(&projector).await?;
        let (rebuilt, anew) = self.rebuild().await?;
        ensure!(followed == anew, "the rebuilt models differ from those that followed");
        self.show(args, imported, rebuilt).await
    }

    /// Keeps a share of the models, and says now and then how far they are.
    #[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
    async fn project(&self, worker: u32, until_done: bool, args: &Args) -> Result<()> {
        let projector = self.projector();
        let projecting = projector.start_worker();
        let flights = args.limit.min(data::FLIGHTS);
        loop {
            tokio::select! {
                stopped = tokio::signal::ctrl_c() => {
                    stopped?;
                    break;
                }
                () = tokio::time::sleep(EVERY) => {}
            }
            if let Some(failure) = projecting.failure() {
                bail!("worker {worker}: {failure}");
            }
            let progress = *projector.progress().borrow();
            eprintln!("worker {worker}: {} events, {} behind", progress.events, progress.behind());
            if until_done && Models::read(&projector).await?.are_done(flights) {
                // The airlines are; the other models may be behind them.
                projector.wait_for(self.store.head().await?, MODELS, PATIENCE).await?;
                break;
            }
        }
        projecting.stop().await.map_err(|error| anyhow::anyhow!("{error}"))
    }

    async fn rebuild(&self) -> Result<(f64, Models)> {
        let projector = self.projector();
        let mut progress = projector.progress();
        let head = self.store.head().await?.get();
        let started = now();
        let mut line = Line::new("rebuilding", "events", head, 0);
        let mut rebuild = std::pin::pin!(projector.rebuild());
        let done = loop {
            tokio::select! {
                done = &mut rebuild => break done?,
                Ok(()) = progress.changed() => {
                    let events = progress.borrow_and_update().events;
                    line.tick(events / 64 * 64);
                }
            }
        };
        let rebuilt = seconds(started);
        line.finish(done.events);
        Ok((rebuilt, Models::read(&projector).await?))
    }

    async fn show(&self, args: &Args, imported: f64, rebuilt: f64) -> Result<()> {
        let models = Models::read(&self.projector()).await?;
        if args.json {
            let summary = Summary::new(&models, imported, rebuilt);
            println!("{}", serde_json::to_string(&summary)?);
        } else {
            report::print(&models);
        }
        Ok(())
    }

    async fn flight(&self, id: &str) -> Result<()> {
        let stream = stream_of::<Flight>(&id.to_owned())?;
        let events = self.store.events(Read::stream(&stream)).await?;
        ensure!(!events.is_empty(), "there is no flight {id}");
        for event in events {
            let payload = String::from_utf8_lossy(&event.payload).into_owned();
            println!("{} {:<18} {payload}", event.version, event.event_type);
        }
        let flight = gesta::AggregateStoreExt::load::<Flight>(&self.store, &id.to_owned()).await?;
        println!("{}", serde_json::to_string_pretty(&flight.state)?);
        Ok(())
    }

    async fn tail(&self) -> Result<()> {
        let mut events = self.store.tail(Read::category("flight")?.after(self.store.head().await?));
        while let Some(event) = events.next().await {
            let event = event?;
            println!("{} {} {}", event.position, event.stream, event.event_type);
        }
        Ok(())
    }
}
