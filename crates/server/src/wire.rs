//! The Postgres protocol: messages in, answers out.
//!
//! ```text
//!   connection ─► startup ─► simple ───┐                     ┌─► rows (encode, text)
//!                         └► extended ─┴─► statement::run ───┼─► COPY
//!                                          pg_catalog        └─► tag, notices, errors
//! ```

#[cfg(test)]
mod across_members;
pub mod connection;
mod copy;
mod declared;
mod encode;
mod extended;
mod json;
mod numeric;
mod parameters;
mod prepared;
mod send;
mod simple;
mod startup;
pub mod text;
mod types;

pub use connection::serve;

/// What clients take the server for: the version decides which catalog queries psql sends.
pub const SERVER_VERSION: &str = concat!("15.13 (Millpond ", env!("CARGO_PKG_VERSION"), ")");

use std::fmt::Debug;

use futures::Sink;
use pgwire::api::ClientInfo;
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::PgWireBackendMessage;

use crate::error::{Error, Result};

/// Where messages to the client go.
pub trait Client: ClientInfo + Sink<PgWireBackendMessage, Error: Debug + Into<PgWireError>> + Unpin + Send + Sync {}

impl<C> Client for C
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::Error: Debug,
    PgWireError: From<C::Error>,
{
}

/// Refuses a statement that was not UTF-8: the library has put U+FFFD there, and one that a client has sent cannot be told from that.
fn check_encoding(text: &str) -> Result<()> {
    match text.find(char::REPLACEMENT_CHARACTER) {
        None => Ok(()),
        Some(at) => Err(Error::new("22021", "invalid byte sequence for encoding \"UTF8\"")
            .hint("Statements cannot have U+FFFD, which stands for such bytes. Give it as a parameter or by COPY.")
            .at(text[..at].chars().count() as u32)),
    }
}

impl From<Error> for PgWireError {
    fn from(error: Error) -> PgWireError {
        let severity = if error.fatal { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(severity.to_string(), error.sqlstate.to_string(), error.message);
        info.severity_nonlocalized = Some(severity.to_string());
        info.detail = error.detail;
        info.hint = error.hint;
        info.position = error.position.map(|position| position.to_string());
        info.where_context = error.context;
        PgWireError::UserError(Box::new(info))
    }
}
