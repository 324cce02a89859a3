//! SIGHUP: the configuration is read again. What changed is put in force as a whole, or not at all.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use super::recorder::Recorder;
use super::sinks::Sinks;
use crate::cli::config::ConfigArgs;
use crate::config::Settings;
use crate::config::change::Changes;
use crate::pipeline::{BurstWish, Handle, Services};
use crate::telemetry::log;

/// Where the configuration comes from, and what of it is in force.
#[derive(Debug)]
pub(super) struct Reload {
    args: ConfigArgs,
    settings: Settings,
}

/// What a change is put in force in.
pub(super) struct Stages<'a> {
    pub(super) handle: &'a Handle,
    pub(super) recorder: &'a Arc<Recorder>,
    pub(super) sinks: &'a Arc<Sinks>,
    /// What a burst is when nobody says.
    pub(super) burst: &'a watch::Sender<BurstWish>,
    /// So long a sink that is gone may ship what it has.
    pub(super) grace: Duration,
}

impl Reload {
    /// These settings are in force.
    pub(super) fn new(args: ConfigArgs, settings: Settings) -> Self {
        Self { args, settings }
    }

    /// Reads the configuration again and puts what changed in force. Tells the log what came of it, and
    /// the caller whether it was taken.
    pub(super) async fn reload(&mut self, stages: &Stages<'_>) -> bool {
        let reloaded = self.try_reload(stages).await;
        let taken = reloaded.is_ok();
        match reloaded {
            Ok(changes) if changes.keys.is_empty() => {
                tracing::info!("the configuration was read again: nothing changed");
            }
            Ok(changes) => {
                let keys = changes.keys.join(", ");
                tracing::info!(keys, "the configuration was read again, and is in force");
            }
            Err(error) => {
                tracing::error!("the configuration was read again, and refused: {error:#}")
            }
        }
        taken
    }

    async fn try_reload(&mut self, stages: &Stages<'_>) -> anyhow::Result<Changes> {
        let args = self.args.clone();
        // Files and names of users are read: that may block.
        let loaded = tokio::task::spawn_blocking(move || args.load()).await?;
        let new = loaded.map_err(|complaints| anyhow::anyhow!("{complaints}"))?.settings;
        let changes = self.settings.difference(&new)?;
        if let Err(error) = put_in_force(&new, &changes, stages).await {
            // What was changed before the refusal.
            if let Err(back) = put_in_force(&self.settings, &changes, stages).await {
                tracing::error!("and what was in force before could not be restored: {back:#}");
            }
            return Err(error);
        }
        self.settings = new;
        Ok(changes)
    }
}

/// What can be refused comes first.
async fn put_in_force(
    settings: &Settings,
    changes: &Changes,
    stages: &Stages<'_>,
) -> anyhow::Result<()> {
    let touch = |sections: &[&str]| sections.iter().any(|section| changes.touch(section));
    if touch(&["sampling", "select", "exclude.pids", "budget"]) {
        let configured = stages.handle.configure(settings.recorded()).await;
        configured.map_err(anyhow::Error::msg).context("the kernel side")?;
    }
    if touch(&["store"]) {
        stages.recorder.set_limits(settings)?;
    }
    if touch(&["sinks", "labels"]) {
        tokio::task::block_in_place(|| stages.recorder.set_sinks(settings));
        stages.sinks.change(settings, stages.recorder, stages.grace)?;
    }
    if touch(&["services", "exclude.services"]) {
        let (rules, excluded) = (settings.services.clone(), settings.exclude_services.clone());
        stages.handle.name_services(Services { rules, excluded })?;
    }
    if touch(&["burst"]) {
        stages.burst.send_replace(settings.default_burst());
    }
    if touch(&["log"]) {
        let (form, level) = settings.log_form();
        log::change(form, level);
    }
    Ok(())
}
