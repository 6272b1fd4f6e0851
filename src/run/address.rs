//! Where the server is to listen, and what it is told of it.

use std::path::PathBuf;
use std::sync::Arc;

use super::project::Project;
use crate::config::{Config, Listen};
use crate::error::Failure;
use crate::event::{Artifact, Level, Notice, ServerEvent};
use crate::plan::Plan;
use crate::server::{Listener, ServerCommand, Told, socket};

/// Where the server is to listen, for all generations alike.
pub(super) struct Address {
    /// Held for the tool's whole life, where servers inherit it.
    pub(super) listener: Option<Arc<Listener>>,
    /// As it was at the start, as are all of these.
    host: String,
    /// Never 0.
    pub(super) port: u16,
    unix_socket: Option<PathBuf>,
    /// Why servers bind for themselves although they would be offered our socket.
    declined: Option<Failure>,
}

impl Address {
    /// Binds the address where servers inherit it. Where they bind for themselves, makes sure that
    /// an address that the user named is free. A host name may take its time to be looked up.
    pub(super) async fn claim(plan: &Arc<Plan>) -> Result<Self, Failure> {
        let plan = Arc::clone(plan);
        let claimed = tokio::task::spawn_blocking(move || Self::claim_now(&plan)).await;
        claimed.map_err(|error| Failure::usage(error.to_string()))?
    }

    fn claim_now(plan: &Plan) -> Result<Self, Failure> {
        let config = &plan.config;
        let (port, unix_socket) = (config.port, config.unix_socket.as_deref());
        let offers = plan.entry.takes_socket.is_some() && cfg!(unix);
        let mut declined = None;
        if config.listen == Listen::Inherit || (config.listen == Listen::Auto && offers) {
            match socket::bind(&config.host, port.number, unix_socket) {
                Ok(listener) => {
                    let port = listener.port().unwrap_or(port.number);
                    return Ok(Self::new(config, Some(Arc::new(listener)), port, None));
                }
                // Nobody asked for this very address, and the server may want another.
                Err(failure)
                    if config.listen == Listen::Auto && !port.named && unix_socket.is_none() =>
                {
                    declined = Some(failure);
                }
                Err(failure) => return Err(failure),
            }
        } else if unix_socket.is_some() || (port.named && port.number != 0) {
            socket::ensure_free(&config.host, port.number, unix_socket)?;
        }
        let port = match port.number {
            0 => socket::free_port(&config.host)?,
            port => port,
        };
        Ok(Self::new(config, None, port, declined))
    }

    fn new(
        config: &Config,
        listener: Option<Arc<Listener>>,
        port: u16,
        declined: Option<Failure>,
    ) -> Self {
        let (host, unix_socket) = (config.host.clone(), config.unix_socket.clone());
        Self { listener, host, port, unix_socket, declined }
    }

    /// Binds the address for a server that may take it. At the start it was free, and servers have
    /// had it since.
    pub(super) fn bind(&mut self) -> ServerEvent {
        match socket::bind(&self.host, self.port, self.unix_socket.as_deref()) {
            Ok(listener) => {
                let endpoint = listener.endpoint().clone();
                self.listener = Some(Arc::new(listener));
                ServerEvent::Bound(endpoint)
            }
            Err(_) => ServerEvent::NotBound,
        }
    }

    /// What the user should know of it.
    pub(super) fn notice(&self) -> Option<Notice> {
        self.declined.as_ref().map(|failure| Notice {
            level: Level::Warning,
            code: "not-offered",
            text: format!("{failure}; the server is offered no socket and binds for itself"),
            help: failure.help.first().cloned(),
        })
    }
}

/// What is to be run, as the plan has it now.
pub(super) fn server_command(
    project: &Project,
    address: &Address,
    artifact: Artifact,
    dev: bool,
) -> ServerCommand {
    let plan = project.plan();
    ServerCommand {
        artifact,
        cargo_run: project.cargo_run(),
        arguments: plan.args.clone(),
        current_dir: plan.current_dir.clone(),
        told: Told {
            host: address.host.clone(),
            port: address.port,
            unix_socket: address.unix_socket.clone(),
            // It is killed after the whole of it, and may want to say what it has not done.
            grace: plan.config.grace.mul_f64(0.95),
            tracer: plan.config.tracer.clone(),
            bootstrap: plan.entry.function.clone(),
            dev,
        },
        ports: Vec::new(),
    }
}
