//! Command line of `bootd`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, anyhow, bail};
use bootd::{app::App, check::check, http, render::What};
use clap::{Parser, Subcommand};
use protocol::Mac;
use tokio::{net::TcpListener, signal::unix};

/// Tells every machine of a lab what to boot and keeps how far each one is.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer machines and the host, until stopped.
    Serve {
        /// The site's folder, or the symlink that is swapped to it.
        #[arg(long)]
        site: PathBuf,
        /// The folder for the machines' states and the events.
        #[arg(long)]
        state: PathBuf,
        /// Where machines ask.
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Where the host may also give orders.
        #[arg(long, default_value = "127.0.0.1:8081")]
        admin: SocketAddr,
    },
    /// Render everything of a site for every machine; fail if anything can't be.
    Check {
        /// The site's folder.
        #[arg(long)]
        site: PathBuf,
    },
    /// Print one file as a machine in its first installation would get it.
    Render {
        /// The site's folder.
        #[arg(long)]
        site: PathBuf,
        /// The machine's address; an unknown one for what those get.
        #[arg(long)]
        mac: Mac,
        /// install.ipxe, user-data, …
        what: String,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bootd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve {
            site,
            state,
            listen,
            admin,
        } => {
            let app = Arc::new(App::open(&site, &state)?);
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .context("can't start")?;
            runtime.block_on(serve(app, listen, admin))
        }
        Command::Check { site } => {
            let rendered = check(&site)?;
            println!(
                "{}: {} files rendered, no error",
                site.display(),
                rendered.len()
            );
            Ok(())
        }
        Command::Render { site, mac, what } => {
            let text = render(&site, mac, &what)?;
            print!("{text}");
            Ok(())
        }
    }
}

fn render(site: &std::path::Path, mac: Mac, name: &str) -> anyhow::Result<String> {
    let names = What::ALL.map(What::name).join(", ");
    let what = What::named(name).ok_or_else(|| anyhow!("{name:?} is none of {names}"))?;
    bootd::check::render_one(site, mac, what)
}

async fn serve(app: Arc<App>, listen: SocketAddr, admin: SocketAddr) -> anyhow::Result<()> {
    let machines = bind(listen).await?;
    let host = bind(admin).await?;
    // the addresses, since port 0 is the system's choice
    println!(
        "listen {}\nadmin {}",
        machines.local_addr()?,
        host.local_addr()?
    );
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    // all that was answered is on the disk, so there is nothing to finish
    tokio::select! {
        end = http::serve(machines, http::machines_router(Arc::clone(&app))) => match end? {},
        end = http::serve(host, http::admin_router(app)) => match end? {},
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() {
        bail!("{address} is not a loopback address; nginx is what faces the network");
    }
    TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address}"))
}
