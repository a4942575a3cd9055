//! A network that can be cut: connections go through it to one address.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Network {
    Up,
    /// Whatever is sent arrives so much later.
    Slow(Duration),
    /// Connections stand, and nothing arrives.
    Silent,
    /// Connections break, and new ones are refused.
    Down,
}

/// Ends with the runtime that it was started in.
pub struct Proxy {
    pub address: String,
    network: watch::Sender<Network>,
}

impl Proxy {
    pub async fn start(upstream: String) -> Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (network, state) = watch::channel(Network::Up);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *state.borrow() != Network::Down {
                    tokio::spawn(connect(client, upstream.clone(), state.clone()));
                }
            }
        });
        Ok(Proxy { address, network })
    }

    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn connect(client: TcpStream, upstream: String, mut state: watch::Receiver<Network>) -> Result<()> {
    let server = TcpStream::connect(&upstream).await.context(upstream)?;
    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
    let (to, from) = (state.clone(), state.clone());
    tokio::select! {
        there = carry(client_in, server_out, to) => there,
        back = carry(server_in, client_out, from) => back,
        _ = state.wait_for(|network| *network == Network::Down) => Ok(()),
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<Network>) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let bytes = from.read(&mut buffer).await?;
        if bytes == 0 {
            return Ok(());
        }
        let network = *state.wait_for(|network| *network != Network::Silent).await?;
        if let Network::Slow(delay) = network {
            tokio::time::sleep(delay).await;
        }
        to.write_all(&buffer[..bytes]).await?;
    }
}
