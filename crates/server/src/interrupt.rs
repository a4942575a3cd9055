//! What ends a statement before its time: a cancel request, the client going away, a timeout, the server stopping.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures::channel::oneshot;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::{Error, Result};

/// Watches a connection's socket for the client's end of it, while nobody reads from it.
#[derive(Debug)]
pub struct Hangup {
    /// A second handle of the socket; nothing is ever read from it.
    socket: Option<TcpStream>,
}

impl Hangup {
    /// A second handle of `socket`. Without one (no descriptors left), a client that goes away is noticed when it is written to.
    pub fn of(socket: TcpStream) -> io::Result<(TcpStream, Hangup)> {
        let socket = socket.into_std()?;
        let second = socket.try_clone().and_then(TcpStream::from_std).ok();
        Ok((TcpStream::from_std(socket)?, Hangup { socket: second }))
    }

    async fn seen(&self) {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        loop {
            match socket.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {
                    // There is data, which is the connection's: forget the readiness and wait for the next event.
                    let _: io::Result<()> = socket.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
                }
                _ => return,
            }
        }
    }
}

/// Returns when the server stops.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone has stopped, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// For the statements of one message.
pub struct Interrupt<'a> {
    cancelled: Option<oneshot::Receiver<()>>,
    hangup: &'a Hangup,
    stopping: watch::Receiver<bool>,
    deadline: Option<Instant>,
}

impl<'a> Interrupt<'a> {
    pub fn new(cancelled: oneshot::Receiver<()>, hangup: &'a Hangup, stopping: watch::Receiver<bool>) -> Interrupt<'a> {
        Interrupt { cancelled: Some(cancelled), hangup, stopping, deadline: None }
    }

    /// From now on; `None`: none.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.deadline = timeout.map(|timeout| Instant::now() + timeout);
    }

    /// Returns when the statement is to end, with what the client is told.
    pub async fn raised(&mut self) -> Error {
        let Interrupt { cancelled, hangup, stopping, deadline } = self;
        let requested = async {
            if let Some(receiver) = cancelled
                && receiver.await.is_ok()
            {
                return;
            }
            // Nobody can ask any more.
            std::future::pending().await
        };
        let timeout = async {
            match *deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = requested => Error::new("57014", "canceling statement due to user request"),
            () = timeout => Error::new("57014", "canceling statement due to statement timeout"),
            () = hangup.seen() => Error::fatal("08006", "the client went away"),
            () = stopped(stopping) => Error::fatal("57P01", "terminating connection because the server is shutting down"),
        }
    }

    /// `work`, unless something ends it before.
    pub async fn guard<T, E: Into<Error>>(&mut self, work: impl Future<Output = std::result::Result<T, E>>) -> Result<T> {
        tokio::select! {
            error = self.raised() => Err(error),
            done = work => done.map_err(Into::into),
        }
    }

    /// Blocking work on a thread for it. When it is interrupted its thread goes on to its end, unheard.
    pub async fn block<T, E>(&mut self, work: impl FnOnce() -> std::result::Result<T, E> + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        E: Into<Error> + Send + 'static,
    {
        let work = tokio::task::spawn_blocking(work);
        self.guard(async { work.await.map_err(Error::internal)?.map_err(Into::into) }).await
    }
}
