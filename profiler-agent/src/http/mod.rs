//! What the agent answers over HTTP: profiles, queries, metrics, health.
//!
//! A request comes in by a door: the Unix socket, for root, or TCP, for this host or for who has the
//! token ([`access`]). It is bounded on every side ([`config::Limits`], [`paced`], [`gate`]), its
//! parameters are read strictly ([`parameters`]), and the agent answers it behind [`Answers`].
//! [`client`] is the other end, for the commands that ask a running agent.

mod access;
mod answers;
pub mod client;
mod config;
mod counts;
mod gate;
mod listen;
mod paced;
mod parameters;
mod reply;
mod routes;
mod server;
#[cfg(test)]
mod tests;
mod tls;

pub use answers::{
    Answering, Answers, BurstAsk, BurstStarted, Document, ProfileAsk, QueryAsk, Refusal, TopAsk,
};
pub use config::{Config, Limits, StartError, TlsFiles};
pub use counts::{Counts, Refused};
pub use server::Server;
