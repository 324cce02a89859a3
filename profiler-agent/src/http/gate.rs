//! How much is answered at once. What is over it is refused at once, with the time to come again: a
//! queue would only make everybody wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::Denied;
use super::answers::{Answers, Refusal};
use super::config::Limits;
use super::counts::{Counts, Refused};

/// What every request of every door shares.
pub(super) struct App {
    pub(super) answers: Arc<dyn Answers>,
    pub(super) counts: Arc<Counts>,
    pub(super) limits: Limits,
    profiles: Arc<Semaphore>,
    queries: Arc<Semaphore>,
    own_profile: Arc<Semaphore>,
}

impl App {
    pub(super) fn new(answers: Arc<dyn Answers>, counts: Arc<Counts>, limits: Limits) -> Self {
        Self {
            profiles: Arc::new(Semaphore::new(limits.profiles)),
            queries: Arc::new(Semaphore::new(limits.queries)),
            own_profile: Arc::new(Semaphore::new(1)),
            answers,
            counts,
            limits,
        }
    }

    pub(super) fn place_for_profile(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        place(&self.profiles, "as many profiles as may be are being taken", 5)
    }

    pub(super) fn place_for_query(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        place(&self.queries, "as many queries as may be are being answered", 1)
    }

    pub(super) fn place_for_own_profile(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        place(&self.own_profile, "the agent is being profiled by signals already", 5)
    }

    pub(super) fn count_refusal(&self, why: &Refusal) {
        let why = match why {
            Refusal::Bad(_) | Refusal::Missing(_) | Refusal::Conflict(_) => Refused::Question,
            Refusal::Busy { .. } => Refused::Busy,
            Refusal::TooLong(_) => Refused::Time,
            // Not turned away: broken. The log says how.
            Refusal::Failed(why) => {
                tracing::warn!("a request failed: {why}");
                return;
            }
        };
        self.counts.refuse(why);
    }

    pub(super) fn count_denied(&self, denied: Denied) {
        self.counts.refuse(match denied {
            Denied::Token => Refused::Token,
            Denied::Site => Refused::Stranger,
        });
    }
}

fn place(places: &Arc<Semaphore>, why: &str, after: u64) -> Result<OwnedSemaphorePermit, Refusal> {
    Arc::clone(places).try_acquire_owned().map_err(|_| Refusal::Busy {
        why: format!("{why}: come again after {after} s"),
        after: Duration::from_secs(after),
    })
}
