//! One connection: its session, and the loop that reads its messages.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, SinkExt, StreamExt};
use pgwire::api::cancel::DefaultCancelHandler;
use pgwire::api::{ClientInfo, ConnectionHandle, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{negotiate_tls, process_error, process_message};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OnceCell, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::error::Error;
use crate::interrupt::{Hangup, Interrupt, stopped};
use crate::session::{Session, Shared};

/// How long a client may take to introduce itself.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long statements may take to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What the handlers of one connection share. Messages are handled one at a time, so the lock is never waited for.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    session: Mutex<Session>,
    shared: Arc<Shared>,
    hangup: Hangup,
    /// Set at startup.
    cancel: OnceCell<Arc<ConnectionHandle>>,
}

impl Connection {
    fn new(shared: Arc<Shared>, hangup: Hangup) -> Connection {
        let session = Mutex::new(Session::new(Arc::clone(&shared)));
        Connection(Arc::new(Inner { session, shared, hangup, cancel: OnceCell::new() }))
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub async fn session(&self) -> tokio::sync::MutexGuard<'_, Session> {
        self.0.session.lock().await
    }

    pub fn set_cancel_handle(&self, handle: Arc<ConnectionHandle>) {
        // A second startup message is refused before it comes here.
        let _ = self.0.cancel.set(handle);
    }

    /// For the statements of one message: an older one's can no longer be raised.
    pub async fn interrupt(&self) -> Interrupt<'_> {
        let cancelled = match self.0.cancel.get() {
            Some(handle) => handle.start_query().await,
            None => futures::channel::oneshot::channel().1,
        };
        Interrupt::new(cancelled, &self.0.hangup, self.0.shared.stopping.clone())
    }
}

/// Takes connections until the server stops, then waits for those there are.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(connection(socket, Arc::clone(&shared)));
                }
                Err(error) => {
                    // Out of descriptors, most likely: they come back when connections end.
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(socket: TcpStream, shared: Arc<Shared>) {
    metrics::gauge!("millpond_connections").increment(1.0);
    if let Err(error) = converse(socket, shared).await {
        debug!(%error, "a connection broke");
    }
    metrics::gauge!("millpond_connections").decrement(1.0);
}

async fn converse(socket: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let (socket, hangup) = Hangup::of(socket)?;
    let mut stopping = shared.stopping.clone();
    let startup = tokio::time::sleep(STARTUP_TIMEOUT);
    tokio::pin!(startup);
    let negotiated = tokio::select! {
        () = &mut startup => return Ok(()),
        // What cannot be read as a message makes the library panic.
        socket = AssertUnwindSafe(negotiate_tls(socket, None)).catch_unwind() => match socket {
            Ok(socket) => socket?,
            Err(_) => return Ok(()),
        },
    };
    let Some(mut socket) = negotiated else { return Ok(()) };
    let cancel = Arc::new(DefaultCancelHandler::new(Arc::clone(&shared.connections)));
    let connection = Arc::new(Connection::new(shared, hangup));
    loop {
        let starting = matches!(socket.state(), PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AuthenticationInProgress);
        let message = tokio::select! {
            () = &mut startup, if starting => return Ok(()),
            () = stopped(&mut stopping) => {
                let error = Error::fatal("57P01", "terminating connection because the server is shutting down");
                return process_error(&mut socket, error.into(), false).await;
            }
            // A message whose lengths do not fit together makes the library panic. Nothing but its buffer is in use then.
            message = AssertUnwindSafe(socket.next()).catch_unwind() => match message {
                Ok(message) => message,
                Err(_) => return process_error(&mut socket, protocol_violation("the lengths in a message do not fit together"), false).await,
            },
        };
        let message = match message {
            Some(Ok(PgWireFrontendMessage::Terminate(_))) | None => return Ok(()),
            Some(Ok(message)) => message,
            Some(Err(PgWireError::IoError(error))) => return Err(error),
            Some(Err(error)) => {
                // Where the next message begins is not known any more.
                return process_error(&mut socket, protocol_violation(error), false).await;
            }
        };
        if is_copied(&message) && matches!(socket.state(), PgWireConnectionState::ReadyForQuery) {
            // It was on its way when its COPY was refused. PostgreSQL takes no notice of it, either.
            continue;
        }
        let extended = match socket.state() {
            PgWireConnectionState::CopyInProgress(extended) => extended,
            _ => message.is_extended_query(),
        };
        let handler = || Arc::clone(&connection);
        let handled = process_message(message, &mut socket, handler(), handler(), handler(), handler(), Arc::clone(&cancel)).await;
        if let Err(error) = handled {
            // Whatever went wrong, PostgreSQL lets a transaction not go on.
            connection.session().await.failed();
            let error = named(error);
            let fatal = matches!(&error, PgWireError::UserError(info) if info.is_fatal());
            process_error(&mut socket, error, extended).await?;
            if fatal {
                return Ok(());
            }
        }
    }
}

fn is_copied(message: &PgWireFrontendMessage) -> bool {
    matches!(message, PgWireFrontendMessage::CopyData(_) | PgWireFrontendMessage::CopyDone(_) | PgWireFrontendMessage::CopyFail(_))
}

fn protocol_violation(error: impl std::fmt::Display) -> PgWireError {
    let info = ErrorInfo::new("FATAL".to_string(), "08P01".to_string(), format!("protocol violation: {error}"));
    PgWireError::UserError(Box::new(info))
}

/// The library's own errors, in PostgreSQL's words.
fn named(error: PgWireError) -> PgWireError {
    match error {
        PgWireError::PortalNotFound(name) => Error::new("34000", format!("portal \"{name}\" does not exist")).into(),
        PgWireError::StatementNotFound(name) => Error::new("26000", format!("prepared statement \"{name}\" does not exist")).into(),
        PgWireError::FailedToParseParameter(reason) => Error::new("22P02", format!("a parameter cannot be read: {reason}")).into(),
        PgWireError::NotReadyForQuery => Error::new("08P01", "a message came that does not belong here").into(),
        other => other,
    }
}

#[async_trait]
impl pgwire::api::copy::CopyHandler for Connection {
    async fn on_copy_data<C>(&self, _: &mut C, data: pgwire::messages::copy::CopyData) -> PgWireResult<()>
    where
        C: ClientInfo + futures::Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: std::fmt::Debug,
        PgWireError: From<C::Error>,
    {
        super::copy::data(self, &data.data).await
    }

    async fn on_copy_done<C>(&self, client: &mut C, _: pgwire::messages::copy::CopyDone) -> PgWireResult<()>
    where
        C: ClientInfo + futures::Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: std::fmt::Debug,
        PgWireError: From<C::Error>,
    {
        super::copy::done(self, client).await
    }

    async fn on_copy_fail<C>(&self, client: &mut C, fail: pgwire::messages::copy::CopyFail) -> PgWireError
    where
        C: ClientInfo + futures::Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: std::fmt::Debug,
        PgWireError: From<C::Error>,
    {
        let _ = client.flush().await;
        super::copy::fail(self, &fail.message).await
    }
}
