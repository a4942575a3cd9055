//! Connections to other members that wait for the next question.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};
use tracing::debug;

use super::reasons;
use crate::{Elsewhere, Peer};

/// By which a process says which one it is, when it is connected to.
pub const INSTANCE_PARAMETER: &str = "millpond.instance";
/// Also until the first answer: a process that stands still takes connections and does not greet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How many are kept for a member.
const IDLE_MAX: usize = 8;
/// How long one is kept.
const IDLE_AGE_MAX: Duration = Duration::from_secs(60);

/// Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    pub client: Client,
    driver: JoinHandle<()>,
}

impl Connection {
    pub async fn open(peer: &Peer) -> Result<Connection, Elsewhere> {
        let unreachable = |reason: String| Elsewhere::Unreachable { peer: peer.clone(), reason };
        let config = config(&peer.address).ok_or_else(|| unreachable("its address is not host:port".to_string()))?;
        let (client, connection) = match timeout(CONNECT_TIMEOUT, config.connect(NoTls)).await {
            Ok(connected) => connected.map_err(|error| unreachable(reasons(&error)))?,
            Err(_) => return Err(unreachable("it does not answer".to_string())),
        };
        // Several processes may say that they are at the same address, each from where it is.
        if let Some(other) = connection.parameter(INSTANCE_PARAMETER).filter(|instance| *instance != &*peer.instance) {
            return Err(unreachable(format!("member \"{other}\" answers there: each is to --advertise where the others reach it")));
        }
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection to another member broke");
            }
        });
        Ok(Connection { client, driver })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn config(address: &str) -> Option<Config> {
    let (host, port) = address.rsplit_once(':')?;
    let mut config = Config::new();
    config.host(host.trim_matches(['[', ']'])).port(port.parse().ok()?);
    config.user("millpond").dbname("millpond").application_name("millpond");
    Some(config)
}

#[derive(Debug, Default)]
pub struct Pool {
    /// By address; the one that was used last is the last.
    idle: Mutex<HashMap<Arc<str>, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Idle {
    fn is_good(&self) -> bool {
        !self.connection.client.is_closed() && self.since.elapsed() < IDLE_AGE_MAX
    }
}

impl Pool {
    pub fn take(&self, address: &str) -> Option<Connection> {
        let mut all = self.idle.lock();
        let idle = all.get_mut(address)?;
        idle.retain(Idle::is_good);
        idle.pop().map(|idle| idle.connection)
    }

    pub fn put(&self, address: &Arc<str>, connection: Connection) {
        let mut all = self.idle.lock();
        // Nobody takes those of members that are gone.
        all.retain(|_, idle| {
            idle.retain(Idle::is_good);
            !idle.is_empty()
        });
        let idle = all.entry(Arc::clone(address)).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for (address, host) in [("10.0.0.2:6455", "10.0.0.2"), ("[::1]:6455", "::1"), ("millpond-1.svc:6455", "millpond-1.svc")] {
            let config = config(address).unwrap();
            assert_eq!((config.get_hosts(), config.get_ports()), (&[Host::Tcp(host.to_string())][..], &[6455][..]));
        }
        assert!(config("nowhere").is_none() && config("host:port").is_none());
    }
}
