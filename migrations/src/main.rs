//! `tercet-migrations`: brings a database to this program's schema, or shows where it stands.

use clap::{Parser, Subcommand};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use std::{process::ExitCode, time::Duration};
use tercet_database::{BadUrl, ConnectError, DatabaseUrl, Kind, Pool};
use tercet_migrations::{MigrateError, migrate_saying, status};

/// Short, so that waiting for another process is said at once; the waiting itself goes on.
const BUSY_TIMEOUT: Duration = Duration::from_millis(200);

/// One for the lock, where that is a connection's, and one for the work.
const POOL: Pool = Pool { connections: 2, wait: Duration::from_secs(10) };

/// Why it did not go.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Url(#[from] BadUrl),
    #[error(transparent)]
    Server(#[from] ConnectError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

#[derive(Parser)]
#[command(version, about = "Brings a database to Tercet's schema, or shows where it stands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply the migrations that are missing; make the file if there is none
    Up(Target),
    /// Show which migrations are applied, and change nothing
    Status(Target),
}

#[derive(clap::Args)]
struct Target {
    /// The database, as in sqlite:tercet.db or postgres://user:password@host/database
    #[arg(long, value_name = "URL")]
    database: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Up(target) => up(&target.database).await,
        Command::Status(target) => show(&target.database).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: failed to migrate: {error}");
            ExitCode::from(5)
        }
    }
}

async fn connect(url: &str, create: bool) -> Result<DatabaseConnection, Failed> {
    let parsed: DatabaseUrl = url.parse()?;
    if parsed.kind() != Kind::Sqlite {
        return Ok(tercet_database::connect(&parsed, POOL).await?);
    }
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false).map_sqlx_sqlite_opts(move |sqlite| {
        sqlite.create_if_missing(create).foreign_keys(false).busy_timeout(BUSY_TIMEOUT)
    });
    Ok(Database::connect(options).await.map_err(MigrateError::from)?)
}

async fn up(url: &str) -> Result<(), Failed> {
    let db = connect(url, true).await?;
    let report =
        migrate_saying(&db, || eprintln!("another process is migrating this database: waiting for it")).await?;
    for name in &report.applied {
        println!("applied {name}");
    }
    println!("the schema is at version {}", report.version);
    Ok(db.close().await.map_err(MigrateError::from)?)
}

async fn show(url: &str) -> Result<(), Failed> {
    let db = connect(url, false).await?;
    let status = status(&db).await?;
    let lines = [(status.applied, "applied"), (status.pending, "pending"), (status.unknown, "of a newer program")];
    for (name, state) in lines.iter().flat_map(|(names, state)| names.iter().map(move |name| (name, state))) {
        println!("{name}  {state}");
    }
    Ok(db.close().await.map_err(MigrateError::from)?)
}
