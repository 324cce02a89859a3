//! An agent that notes what it is asked, and answers at once or when it is told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::http::answers::{
    Answering, Answers, BurstAsk, BurstStarted, Document, ProfileAsk, QueryAsk, Refusal, TopAsk,
};
use crate::model::hottest::{Hot, Hottest};

/// See the module.
pub struct Fake {
    /// Questions that are being answered.
    pub working: AtomicUsize,
    /// Answers wait for a permit of this; it starts with more than any test asks.
    pub leave: Semaphore,
    /// What profiles are answered with.
    pub profile: Mutex<Bytes>,
    pub profiles: Mutex<Vec<ProfileAsk>>,
    pub queries: Mutex<Vec<QueryAsk>>,
    pub tops: Mutex<Vec<TopAsk>>,
    pub bursts: Mutex<Vec<BurstAsk>>,
    pub missing: Mutex<Vec<String>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            working: AtomicUsize::new(0),
            leave: Semaphore::new(10_000),
            profile: Mutex::new(Bytes::from_static(b"a profile")),
            profiles: Mutex::default(),
            queries: Mutex::default(),
            tops: Mutex::default(),
            bursts: Mutex::default(),
            missing: Mutex::default(),
        }
    }
}

/// Counts a question while it is being answered, also when its client goes away.
struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Fake {
    /// From now on answers wait.
    pub fn hold(&self) {
        self.leave.forget_permits(usize::MAX);
    }

    async fn work(&self) {
        self.working.fetch_add(1, Ordering::SeqCst);
        let _working = Working(&self.working);
        self.leave.acquire().await.unwrap().forget();
    }

    fn note<T>(list: &Mutex<Vec<T>>, ask: T) {
        list.lock().unwrap().push(ask);
    }
}

impl Answers for Fake {
    fn profile(&self, ask: ProfileAsk) -> Answering<'_, Bytes> {
        Box::pin(async move {
            Self::note(&self.profiles, ask);
            self.work().await;
            Ok(self.profile.lock().unwrap().clone())
        })
    }

    fn own_profile(&self, _length: Duration) -> Answering<'_, Bytes> {
        Box::pin(async move {
            self.work().await;
            Ok(Bytes::from_static(b"by signals"))
        })
    }

    fn query(&self, ask: QueryAsk) -> Answering<'_, Document> {
        Box::pin(async move {
            let known = ask.format != "png";
            Self::note(&self.queries, ask);
            self.work().await;
            if !known {
                return Err(Refusal::Bad("format=png: svg, pprof, folded or text".to_owned()));
            }
            Ok(Document { content_type: "text/plain", bytes: Bytes::from_static(b"a b 3\n") })
        })
    }

    fn top(&self, ask: TopAsk) -> Answering<'_, Hottest> {
        Box::pin(async move {
            Self::note(&self.tops, ask);
            self.work().await;
            let hot = Hot { name: "redis".to_owned(), ..Hot::default() };
            Ok(Hottest { services: vec![hot], ..Hottest::default() })
        })
    }

    fn burst(&self, ask: BurstAsk) -> Answering<'_, BurstStarted> {
        Box::pin(async move {
            let frequency = ask.frequency.unwrap_or(1000);
            let seconds = ask.length.map_or(30, |length| length.as_secs());
            Self::note(&self.bursts, ask);
            self.work().await;
            Ok(BurstStarted { frequency, seconds })
        })
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }

    fn not_ready(&self) -> Vec<String> {
        self.missing.lock().unwrap().clone()
    }
}
