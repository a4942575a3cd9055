//! The millpond server: reads its configuration, opens the data directory, serves, and stops cleanly.

mod config;
mod copy;
mod damage;
mod error;
mod functions;
mod http;
mod instance;
mod interrupt;
mod peers;
mod pg_catalog;
mod session;
mod settings;
mod statement;
mod wire;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::Parser;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use millpond_executor::{Engine, MemberConfig, Storage};
use millpond_log::Log;
use millpond_log_embedded::Embedded;
use millpond_log_kafka::KafkaLog;
use millpond_serving::{Member, Serving};
use millpond_state_changelog::Changelogged;
use pgwire::api::ConnectionManager;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use crate::config::{Arguments, Config, Kafka, LogFormat};
use crate::interrupt::stopped;
use crate::peers::Others;
use crate::session::Shared;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match Arguments::parse().resolve() {
        Ok(config) => config,
        Err(usage) => {
            // Before there is a log to write to.
            let _ = writeln!(std::io::stderr(), "error: {usage}");
            return ExitCode::from(2);
        }
    };
    start_log(config.log_format);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

fn run(config: Config) -> Result<()> {
    let metrics = PrometheusBuilder::new().install_recorder().context("metrics cannot be recorded")?;
    let pg = std::net::TcpListener::bind(config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
    let (damaged, damage) = watch::channel(None);
    let (storage, member) = open_storage(&config, pg.local_addr()?, damaged)?;
    let settings = millpond_executor::Config {
        workers: config.workers,
        gather: config.gather,
        commit_interval: config.commit_interval,
        service_id: config.service_id.clone(),
        member,
    };
    let engine = match Engine::open(settings, storage).context("the engine cannot start") {
        Ok(engine) => engine,
        Err(error) => return Err(anew(&config, &damage).unwrap_or(error)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("millpond-serve").build()?;
    let served = runtime.block_on(serve(&config, pg, engine.clone(), metrics, damage.clone()));
    engine.shutdown();
    // Work that was abandoned may still be waiting for something; it is not waited for.
    runtime.shutdown_background();
    info!("stopped");
    anew(&config, &damage).map_or(served, Err)
}

/// Has the program start again where state has to be made anew. Returns when it has not, or cannot.
fn anew(config: &Config, damage: &watch::Receiver<Option<String>>) -> Option<anyhow::Error> {
    let reason = damage.borrow().clone()?;
    Some(damage::start_again(&config.data_dir, &reason))
}

/// What is kept where, and over Kafka as which of the service's processes. `damaged` is sent why state has to be made anew.
fn open_storage(config: &Config, listening: SocketAddr, damaged: watch::Sender<Option<String>>) -> Result<(Storage, Option<MemberConfig>)> {
    match &config.kafka {
        Some(kafka) => open_kafka(config, kafka, listening, damaged).map(|(storage, member)| (storage, Some(member))),
        None => Ok((open_embedded(config)?, None)),
    }
}

/// Topics are Kafka's; what is in the data directory can be made anew from them.
fn open_kafka(
    config: &Config,
    kafka: &Kafka,
    listening: SocketAddr,
    damaged: watch::Sender<Option<String>>,
) -> Result<(Storage, MemberConfig)> {
    let options = millpond_state_rocksdb::Options {
        memory_bytes: config.memory_bytes,
        // What a loss of power takes, the changelogs have.
        sync: false,
        service_id: Some(format!("{} over Kafka", config.service_id)),
    };
    let database = damage::open(&config.data_dir, &options)
        .with_context(|| format!("the data directory {} cannot be opened", config.data_dir.display()))?;
    let instance = match &kafka.instance {
        Some(instance) => instance.clone(),
        None => instance::name(&config.data_dir)?,
    };
    let address = match &kafka.advertise {
        Some(address) => address.clone(),
        None => instance::address(listening, &kafka.bootstrap)?,
    };
    if instance::is_local(&address) && !instance::is_local(&kafka.bootstrap) {
        tracing::warn!(address, "processes of the service on other machines cannot reach this one there: say --listen or --advertise");
    }
    let defaults = millpond_log_kafka::Options::new(&kafka.bootstrap, &config.service_id);
    let options = millpond_log_kafka::Options {
        instance: instance.clone(),
        session_timeout: kafka.session_timeout.unwrap_or(defaults.session_timeout),
        replicas: kafka.replicas,
        properties: kafka.properties.clone(),
        // One for each worker, and some for statements.
        producers: config.workers + 2,
        consumers: config.workers,
        ..defaults
    };
    let (log, group) = KafkaLog::join(options)?;
    let log: Arc<dyn Log> = Arc::new(log);
    let state = match Changelogged::open(database, Arc::clone(&log), &config.service_id) {
        Err(millpond_state::Error::Damaged(reason)) => return Err(damage::start_again(&config.data_dir, &reason)),
        opened => opened.context("the state cannot be brought in")?,
    };
    state.on_damage(move |reason| drop(damaged.send(Some(reason))));
    Ok((Storage { log, state }, MemberConfig { instance, address, group }))
}

fn open_embedded(config: &Config) -> Result<Storage> {
    let options = millpond_log_embedded::Options {
        memory_bytes: config.memory_bytes,
        service_id: Some(config.service_id.clone()),
        ..millpond_log_embedded::Options::default()
    };
    let embedded = Embedded::open(&config.data_dir, &options)
        .with_context(|| format!("the data directory {} cannot be opened", config.data_dir.display()))?;
    Ok(Storage { log: embedded.clone(), state: embedded })
}

async fn serve(
    config: &Config,
    pg: std::net::TcpListener,
    engine: Engine,
    metrics: PrometheusHandle,
    mut damage: watch::Receiver<Option<String>>,
) -> Result<()> {
    pg.set_nonblocking(true)?;
    let pg = TcpListener::from_std(pg)?;
    let web = TcpListener::bind(config.http).await.with_context(|| format!("cannot listen on {}", config.http))?;
    let (pg_address, web_address) = (pg.local_addr()?, web.local_addr()?);
    let ready = Arc::new(AtomicBool::new(true));
    let (stop, stopping) = watch::channel(false);
    let mut serving = Serving::new(engine.clone(), member(config, &pg_address.to_string(), &web_address.to_string()));
    if let Some(others) = Others::of(&engine) {
        serving = serving.with_peers(Arc::new(others));
    }
    let shared = Arc::new(Shared {
        serving,
        committed: watch_commits(&engine),
        engine,
        service_id: config.service_id.clone(),
        columnar: config.kafka.is_none(),
        pg_catalog: pg_catalog::PgCatalog::default(),
        connections: Arc::new(ConnectionManager::new()),
        stopping: stopping.clone(),
    });
    let health = http::Health { metrics, ready: Arc::clone(&ready) };
    let mut web_stopping = stopping.clone();
    let web = axum::serve(web, http::router(health)).with_graceful_shutdown(async move {
        stopped(&mut web_stopping).await;
    });
    let web = tokio::spawn(async move { web.await });
    let pg = tokio::spawn(wire::serve(pg, shared, stopping));
    if let Some(path) = &config.ready_file {
        tell_ready(path, &pg_address.to_string(), &web_address.to_string())?;
    }
    info!(postgres = %pg_address, http = %web_address, data = %config.data_dir.display(), workers = config.workers, "serving");
    tokio::select! {
        signalled = wait_for_signal() => signalled?,
        reason = damaged(&mut damage) => error!(reason, "the state's files are damaged"),
    }
    info!("stopping");
    ready.store(false, Ordering::Release);
    let _ = stop.send(true);
    pg.await.context("the Postgres side broke")?;
    web.abort();
    Ok(())
}

fn member(config: &Config, address: &str, http: &str) -> Member {
    Member {
        service: config.service_id.clone(),
        address: address.to_string(),
        http: http.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        started: SystemTime::now(),
        workers: config.workers,
    }
}

/// One subscription to the log for everybody who waits for records.
fn watch_commits(engine: &Engine) -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0);
    engine.storage().log.subscribe(Box::new(move || sender.send_modify(|commits| *commits += 1)));
    receiver
}

/// The file is there in one piece or not at all.
fn tell_ready(path: &Path, pg: &str, http: &str) -> Result<()> {
    let content = serde_json::json!({ "pg": pg, "http": http }).to_string();
    let partial = path.with_extension("partial");
    std::fs::write(&partial, content)
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Why state has to be made anew, when it has.
async fn damaged(damage: &mut watch::Receiver<Option<String>>) -> String {
    match damage.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
        Ok(Some(reason)) => reason,
        // Nobody is left to say so.
        _ => std::future::pending().await,
    }
}

async fn wait_for_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
