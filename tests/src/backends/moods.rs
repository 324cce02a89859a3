//! What a server can be told to do instead of its work.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::{Code, Status};

/// What is done with each request.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Mood {
    /// It is served.
    #[default]
    Well,
    /// It is refused with this code, and with this RetryInfo.
    Refuse(Code, Option<Duration>),
    /// It is refused as Pyroscope does while it starts.
    Starting,
    /// It is never answered.
    Silent,
    /// It is served, and the answer never comes.
    LoseAnswers,
}

/// The mood of a server, to be changed at any time.
#[derive(Debug, Default)]
pub struct Moods(Mutex<Mood>);

impl Moods {
    /// From now on.
    pub fn set(&self, mood: Mood) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    fn get(&self) -> Mood {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Before a request is served.
    pub async fn before(&self) -> Result<(), Status> {
        match self.get() {
            Mood::Well | Mood::LoseAnswers => Ok(()),
            Mood::Refuse(code, None) => Err(Status::new(code, "told to refuse")),
            Mood::Refuse(code, Some(delay)) => {
                let details = profiler_proto::rpc::with_retry_delay(code as i32, delay);
                Err(Status::with_details(code, "told to refuse", details.into()))
            }
            Mood::Starting => Err(Status::unknown("rpc error: code = Unavailable: not ready")),
            Mood::Silent => std::future::pending().await,
        }
    }

    /// After it was served.
    pub async fn after(&self) {
        if self.get() == Mood::LoseAnswers {
            std::future::pending().await
        }
    }
}
