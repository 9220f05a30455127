//! A whole project's command, on toy participants: `cargo run -p tercet --example toy -- dev`.

use std::process::ExitCode;
use tercet::{
    Tercet,
    cli::{Context, Hosted, clap},
};

#[expect(clippy::unwrap_used, reason = "names and values written here are right, or the tests say so")]
#[path = "../tests/toy/mod.rs"]
mod toy;

/// Options of `dev --demo`.
#[derive(clap::Args)]
struct Demo {
    /// How many sagas
    #[arg(long, default_value_t = 3)]
    sagas: u32,
}

/// Say something
#[derive(clap::Parser)]
#[command(name = "echo")]
struct Echo {
    words: Vec<String>,
}

fn main() -> ExitCode {
    Tercet::new("toy")
        .registry(toy::registry())
        .participants(|_| async { Ok(Hosted::new(toy::participants())) })
        .demo(demo)
        .command(|echo: Echo, _| async move {
            println!("{}", echo.words.join(" "));
            Ok(ExitCode::SUCCESS)
        })
        .main()
}

async fn demo(demo: Demo, context: Context) -> Result<ExitCode, tercet::cli::Failure> {
    let node = context.start_unheard(Hosted::new(toy::participants())).await?;
    for number in 1..=demo.sagas {
        let input = tercet::core::Payload::of(&toy::TripRequest { traveller: "A".into(), seats: 1, note: None })?;
        let started = node.engine().start("quick".parse()?, None, format!("demo-{number}").parse()?, input).await?;
        node.engine().wait(started.id, tercet::Until::End).await?;
    }
    let ended: u64 = node.engine().counts().await?.iter().map(|count| count.sagas).sum();
    println!("{ended} sagas ended");
    node.stop().await;
    Ok(ExitCode::SUCCESS)
}
