//! The startup message: who connects, with which settings. There is no authentication yet.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::LazyLock;

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::api::auth::{
    DefaultServerParameterProvider, ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, ConnectionGuard, PidSecretKeyGenerator, RandomPidSecretKeyGenerator};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::Startup;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::SERVER_VERSION;
use super::connection::Connection;
use crate::error::Error;
use crate::session::Session;
use millpond_serving::INSTANCE_PARAMETER;

static KEYS: LazyLock<RandomPidSecretKeyGenerator> = LazyLock::new(RandomPidSecretKeyGenerator::default);

#[async_trait]
impl StartupHandler for Connection {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let PgWireFrontendMessage::Startup(startup) = message else {
            return Err(Error::new("08P01", "a startup message was expected").into());
        };
        protocol_negotiation(client, &startup).await?;
        save_startup_parameters_to_metadata(client, &startup);
        take_settings(&mut *self.session().await, &startup);
        let (pid, key) = KEYS.generate(client);
        client.set_pid_and_secret_key(pid, key.clone());
        let (handle, guard) = self.shared().connections.register(pid, key);
        self.set_cancel_handle(handle);
        client.session_extensions().insert::<ConnectionGuard>(guard);
        let instance = self.shared().engine.config().member.as_ref().map(|member| member.instance.clone());
        finish_authentication(client, &Parameters { instance }).await?;
        client.flush().await?;
        Ok(())
    }
}

/// What the client SETs by connecting. Settings that are not known are told of with the first answer, not refused: drivers send all sorts.
fn take_settings(session: &mut Session, startup: &Startup) {
    let mut given: Vec<(String, String)> = Vec::new();
    for (name, value) in &startup.parameters {
        match name.as_str() {
            "user" => given.push(("session_authorization".to_string(), value.clone())),
            "options" => given.extend(options(value)),
            "database" | "replication" => {}
            name if name.starts_with("_pq_.") => {}
            _ => given.push((name.clone(), value.clone())),
        }
    }
    for (name, value) in given {
        if let Err(error) = session.settings.begin_with(&name, &value) {
            session.warning("01000", format!("{}: it is left as it is", error.message));
        }
    }
}

/// `-c name=value -c name=value`, or `--name=value`.
fn options(text: &str) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let assignment = match word {
            "-c" => words.next(),
            word => word.strip_prefix("--").or_else(|| word.strip_prefix("-c")),
        };
        if let Some((name, value)) = assignment.and_then(|assignment| assignment.split_once('=')) {
            options.push((name.replace('-', "_"), value.to_string()));
        }
    }
    options
}

#[derive(Debug)]
struct Parameters {
    /// Of this process among those of its service.
    instance: Option<String>,
}

impl ServerParameterProvider for Parameters {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.server_version = SERVER_VERSION.to_string();
        parameters.date_style = "ISO, MDY".to_string();
        parameters.time_zone = "UTC".to_string();
        let mut parameters = parameters.server_parameters(client)?;
        parameters.extend(self.instance.clone().map(|instance| (INSTANCE_PARAMETER.to_string(), instance)));
        Some(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_as_libpq_sends_them() {
        let expected = [("dialect".to_string(), "ksqldb".to_string()), ("statement_timeout".to_string(), "5s".to_string())];
        assert_eq!(options("-c dialect=ksqldb --statement-timeout=5s -x"), expected);
    }
}
