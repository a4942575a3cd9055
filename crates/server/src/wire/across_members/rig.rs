//! Two servers in this process, each with a view of where partitions are that the test changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use millpond_catalog::Source;
use millpond_executor::{Config, Engine, Storage};
use millpond_serving::{GroupMember, Member, Owner, Peer, Peers, Serving};
use millpond_state::MemoryBackend;
use parking_lot::Mutex;
use pgwire::api::ConnectionManager;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use super::link::Link;
use crate::pg_catalog::PgCatalog;
use crate::session::Shared;
use crate::wire;

const PARTITIONS: u32 = 4;
const TABLE: &str = "CREATE TABLE t (k INT PRIMARY KEY, s VARCHAR, v DOUBLE, at TIMESTAMP) WITH (kafka_topic = 't', partitions = 4)";

/// What one server takes for true; the test moves partitions.
#[derive(Debug)]
pub struct View {
    pub this: Peer,
    /// This server and the other one.
    pub all: Vec<Peer>,
    owners: Mutex<Vec<Owner>>,
    version: AtomicU64,
}

impl View {
    pub fn place(&self, owners: [&Peer; PARTITIONS as usize]) {
        let owner = |peer: &Peer| if *peer == self.this { Owner::Here } else { Owner::At(peer.clone()) };
        self.set(owners.map(owner).to_vec());
    }

    pub fn set(&self, new: Vec<Owner>) {
        let mut owners = self.owners.lock();
        *owners = new;
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

impl Peers for View {
    fn version(&self) -> u64 {
        let _owners = self.owners.lock();
        self.version.load(Ordering::Acquire)
    }

    fn owners(&self, table: &Source) -> Vec<Owner> {
        assert_eq!(table.partitions, PARTITIONS);
        self.owners.lock().clone()
    }

    fn this(&self) -> Peer {
        self.this.clone()
    }

    fn members(&self) -> millpond_serving::Result<Vec<GroupMember>> {
        let member =
            |peer: &Peer| GroupMember { peer: peer.clone(), id: Some(format!("{}-1", peer.instance)), leads: &*peer.instance == "a" };
        Ok(self.all.iter().map(member).collect())
    }
}

pub struct Server {
    pub view: Arc<View>,
    engine: Engine,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    fn start(listener: TcpListener, view: View) -> Server {
        let backend = Arc::new(MemoryBackend::new());
        let storage = Storage { log: backend.log(), state: backend };
        let config =
            Config { workers: 1, gather: false, commit_interval: Duration::from_millis(20), service_id: "test".to_string(), member: None };
        let engine = Engine::open(config, storage).unwrap();
        let member = Member {
            service: "test".to_string(),
            address: view.this.address.to_string(),
            http: String::new(),
            version: "0",
            started: SystemTime::now(),
            workers: 1,
        };
        let view = Arc::new(view);
        let (stop, stopping) = watch::channel(false);
        let shared = Shared {
            serving: Serving::new(engine.clone(), member).with_peers(Arc::clone(&view) as Arc<dyn Peers>),
            committed: crate::watch_commits(&engine),
            engine: engine.clone(),
            service_id: "test".to_string(),
            columnar: true,
            pg_catalog: PgCatalog::default(),
            connections: Arc::new(ConnectionManager::new()),
            stopping: stopping.clone(),
        };
        let serving = tokio::spawn(wire::serve(listener, Arc::new(shared), stopping));
        Server { view, engine, stop, serving }
    }

    pub async fn connect(&self) -> Session {
        let (_, port) = self.view.this.address.rsplit_once(':').unwrap();
        let (client, mut connection) =
            tokio_postgres::connect(&format!("host=127.0.0.1 port={port} user=test dbname=millpond"), NoTls).await.unwrap();
        let (sender, notices) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message {
                    let _ = sender.send(notice.message().to_string());
                }
            }
        });
        Session { client, notices }
    }

    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap();
        tokio::task::spawn_blocking(move || self.engine.shutdown()).await.unwrap();
    }
}

pub struct Session {
    pub client: Client,
    pub notices: mpsc::UnboundedReceiver<String>,
}

impl Session {
    /// In one line, with `∅` for NULL.
    pub async fn rows(&self, sql: &str) -> String {
        let messages = self.client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| row.get(column).unwrap_or("∅")).collect::<Vec<_>>().join(" ")),
            _ => None,
        };
        messages.iter().filter_map(row).collect::<Vec<_>>().join(", ")
    }

    pub async fn fails(&self, sql: &str) -> (String, String) {
        let error = self.client.simple_query(sql).await.expect_err(sql);
        let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
        (error.code().code().to_string(), error.message().to_string())
    }
}

/// Two servers with the same table. `s` says whose row it is; partitions 1 and 3 are taken to be at `b`.
pub async fn two() -> (Server, Server) {
    let [(a, at_a), (b, at_b)] = [listen("a").await, listen("b").await];
    (server(a, at_a.clone(), at_a.clone(), at_b.clone()).await, server(b, at_b.clone(), at_a, at_b).await)
}

/// What `a` asks of `b` goes through the link.
pub async fn apart() -> (Server, Server, Link) {
    let [(a, at_a), (b, at_b)] = [listen("a").await, listen("b").await];
    let link = Link::to(&at_b.address).await;
    let at_link = Peer { address: link.address.as_str().into(), ..at_b.clone() };
    (server(a, at_a.clone(), at_a.clone(), at_link).await, server(b, at_b.clone(), at_a, at_b).await, link)
}

async fn listen(name: &str) -> (TcpListener, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().into();
    (listener, Peer { instance: name.into(), address })
}

async fn server(listener: TcpListener, this: Peer, a: Peer, b: Peer) -> Server {
    let view = View { this, all: vec![a.clone(), b.clone()], owners: Mutex::default(), version: AtomicU64::default() };
    view.place([&a, &b, &a, &b]);
    let server = Server::start(listener, view);
    let row = |k| format!("({k}, 'it''s {}', {k}.5, '2020-01-01 00:00:{k:02}')", server.view.this.instance);
    let rows: Vec<String> = (0..40).map(row).collect();
    let session = server.connect().await;
    session.client.batch_execute(&format!("{TABLE}; INSERT INTO t VALUES {}; FLUSH", rows.join(", "))).await.unwrap();
    server
}
