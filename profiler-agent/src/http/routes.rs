//! The paths of the endpoint: what each takes, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use jiff::Timestamp;
use tokio::time::timeout;

use super::access::{Denied, Door};
use super::answers::{BurstAsk, ProfileAsk, QueryAsk, Refusal, TopAsk};
use super::gate::App;
use super::parameters::{FILTER, Parameters, RANGE};
use super::reply::{document, json, refusal, text};
use crate::model::choice::EventChoice;

/// How much longer than its time a profile may take: to name what is new, and to pack it.
const NAMING: Duration = Duration::from_secs(30);

/// Longest time of one table of `top`, in seconds.
const LONGEST_TOP: u64 = 60;

/// What there is, for who asks for something else.
const PAGES: &str = "\
/debug/pprof/profile?seconds=30[&pid=|&service=|&label=NAME=VALUE]   CPU time, as pprof
/debug/pprof/offcpu?seconds=30[&pid=|&service=|&label=NAME=VALUE]    blocked time, as pprof
/debug/pprof/self?seconds=30[&by=signal]                             the agent itself
/api/v1/query?last=10m[&from=&to=&pid=&service=&label=&event=&format=]   from the stored windows
/api/v1/top?seconds=2[&pid=|&service=|&label=NAME=VALUE]             what is hottest, as JSON
/api/v1/burst (POST) [?frequency=1000&duration=30s&pid=]             sample faster for a while
/metrics  /healthz  /readyz
";

/// The router of one door.
pub(super) fn router(app: &Arc<App>, door: Door) -> Router {
    let open = Router::new().route("/healthz", get(health)).route("/readyz", get(ready));
    let guarded = Router::new()
        .route("/", get(pages))
        .route("/debug/pprof/", get(pages))
        .route("/debug/pprof/profile", get(on_cpu))
        .route("/debug/pprof/offcpu", get(off_cpu))
        .route("/debug/pprof/self", get(own))
        .route("/api/v1/query", get(query))
        .route("/api/v1/top", get(top))
        .route("/metrics", get(metrics))
        .merge(changes(app, &door))
        .fallback(nothing)
        .layer(from_fn_with_state((Arc::clone(app), door), guard));
    let all = open.merge(guarded);
    all.layer(from_fn_with_state(Arc::clone(app), count)).with_state(Arc::clone(app))
}

/// What changes the agent's work: not for every program of the host.
fn changes(_app: &Arc<App>, door: &Door) -> Router<Arc<App>> {
    if door.may_change() {
        return Router::new().route("/api/v1/burst", post(burst));
    }
    Router::new().route("/api/v1/burst", post(burst_elsewhere))
}

async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    app.counts.request();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn guard(
    State((app, door)): State<(Arc<App>, Door)>,
    request: Request,
    next: Next,
) -> Response {
    match door.admits(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denied) => app.deny(denied),
    }
}

async fn pages() -> Response {
    text(StatusCode::OK, PAGES.to_owned())
}

async fn nothing(State(app): State<Arc<App>>) -> Response {
    app.refuse(Refusal::Missing(format!("there is nothing here; there are\n{PAGES}")))
}

async fn health() -> Response {
    text(StatusCode::OK, "ok\n".to_owned())
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    let missing = app.answers.not_ready();
    if missing.is_empty() {
        return text(StatusCode::OK, "ready\n".to_owned());
    }
    text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join("; ")))
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let metrics = app.answers.metrics();
    document("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics.into(), None)
}

async fn on_cpu(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    app.or_refuse(profile(&app, query.as_deref(), EventChoice::OnCpu, "profile.pb.gz").await)
}

async fn off_cpu(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    app.or_refuse(profile(&app, query.as_deref(), EventChoice::OffCpu, "offcpu.pb.gz").await)
}

async fn profile(
    app: &App,
    query: Option<&str>,
    event: EventChoice,
    name: &'static str,
) -> Result<Response, Refusal> {
    let parameters = Parameters::parse(query, &[&["seconds"], &FILTER])?;
    let ask = ProfileAsk { length: parameters.seconds(1, 30)?, filter: parameters.filter(event)? };
    let _place = app.place_for_profile()?;
    let profile = within(ask.length + NAMING, app.answers.profile(ask)).await?;
    Ok(pprof(profile, name))
}

async fn own(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    app.or_refuse(own_profile(&app, query.as_deref()).await)
}

/// The agent's own profile: by the agent itself, as of any process, or by signals.
async fn own_profile(app: &App, query: Option<&str>) -> Result<Response, Refusal> {
    let parameters = Parameters::parse(query, &[&["seconds", "by", "event"]])?;
    let length = parameters.seconds(1, 30)?;
    let profile = match parameters.one("by")?.unwrap_or("bpf") {
        "bpf" => {
            let mut filter = parameters.filter(EventChoice::OnCpu)?;
            filter.pid = Some(std::process::id());
            let _place = app.place_for_profile()?;
            within(length + NAMING, app.answers.profile(ProfileAsk { length, filter })).await?
        }
        "signal" => {
            let _place = app.place_for_own_profile()?;
            within(length + NAMING, app.answers.own_profile(length)).await?
        }
        other => return Err(Refusal::Bad(format!("by={other}: bpf or signal, please"))),
    };
    Ok(pprof(profile, "self.pb.gz"))
}

async fn query(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    app.or_refuse(stored(&app, query.as_deref()).await)
}

async fn stored(app: &Arc<App>, query: Option<&str>) -> Result<Response, Refusal> {
    let parameters = Parameters::parse(query, &[&["format", "limit"], &FILTER, &RANGE])?;
    let limits = &app.limits;
    let ask = QueryAsk {
        range: parameters.range(Timestamp::now(), limits.query_range)?,
        filter: parameters.filter(EventChoice::Wall)?,
        format: parameters.one("format")?.unwrap_or("pprof").to_owned(),
        limit: parameters.number("limit", 1, 10_000)?.and_then(|n| n.try_into().ok()).unwrap_or(50),
        deadline: std::time::Instant::now() + limits.query,
    };
    let place = app.place_for_query()?;
    // In a task of its own, which keeps its place: a client that goes away does not stop work that
    // a thread has begun, so it must not make room for more of it either.
    let answers = Arc::clone(&app.answers);
    let work = tokio::spawn(async move {
        let answer = answers.query(ask).await;
        drop(place);
        answer
    });
    let limit = limits.query;
    let answer =
        timeout(limit + Duration::from_secs(1), work).await.map_err(|_| too_long(limit))?;
    let found = answer.map_err(|error| Refusal::Failed(format!("the query broke: {error}")))??;
    Ok(document(found.content_type, found.bytes, None))
}

async fn top(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    app.or_refuse(hottest(&app, query.as_deref()).await)
}

async fn hottest(app: &App, query: Option<&str>) -> Result<Response, Refusal> {
    let parameters = Parameters::parse(query, &[&["seconds", "limit"], &FILTER])?;
    let seconds = parameters.number("seconds", 0, LONGEST_TOP)?.unwrap_or(2);
    let limit = parameters.number("limit", 1, 1000)?.and_then(|n| n.try_into().ok());
    let ask = TopAsk {
        length: Duration::from_secs(seconds),
        filter: parameters.filter(EventChoice::Wall)?,
        limit: limit.unwrap_or(50),
    };
    // What is finished already has to be merged, and that is all.
    let is_query = ask.length.is_zero();
    let _place = if is_query { app.place_for_query()? } else { app.place_for_profile()? };
    json(&within(ask.length + NAMING, app.answers.top(ask)).await?)
}

async fn burst(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    app.or_refuse(start_burst(&app, query.as_deref()).await)
}

async fn start_burst(app: &App, query: Option<&str>) -> Result<Response, Refusal> {
    let parameters = Parameters::parse(query, &[&["frequency", "duration", "pid"]])?;
    let frequency = parameters.number("frequency", 1, 10_000)?.and_then(|n| n.try_into().ok());
    let length = parameters.one("duration")?.map(|text| {
        let length = humantime::parse_duration(text).ok();
        let length = length.filter(|l| !l.is_zero() && *l <= Duration::from_secs(600));
        length.ok_or_else(|| Refusal::Bad(format!("duration={text}: from 1s to 10m, please")))
    });
    let pid = parameters.number("pid", 1, i32::MAX as u64)?.and_then(|n| n.try_into().ok());
    let ask = BurstAsk { frequency, length: length.transpose()?, pid };
    json(&within(NAMING, app.answers.burst(ask)).await?)
}

async fn burst_elsewhere(State(app): State<Arc<App>>) -> Response {
    let way_out = "use the Unix socket (`profiler-agent burst`) or set http.token_file";
    app.refuse(Refusal::Conflict(format!("not over TCP without a token: {way_out}")))
}

async fn within<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    timeout(time, answer).await.map_err(|_| too_long(time))?
}

fn too_long(time: Duration) -> Refusal {
    let seconds = time.as_secs();
    Refusal::TooLong(format!("no answer within {seconds} s: ask for less, or see the agent's log"))
}

fn pprof(profile: Bytes, name: &'static str) -> Response {
    document("application/octet-stream", profile, Some(name))
}

impl App {
    fn or_refuse(&self, answer: Result<Response, Refusal>) -> Response {
        answer.unwrap_or_else(|why| self.refuse(why))
    }

    fn refuse(&self, why: Refusal) -> Response {
        self.count_refusal(&why);
        refusal(&why)
    }

    fn deny(&self, denied: Denied) -> Response {
        self.count_denied(denied);
        let (status, why) = match denied {
            Denied::Token => (StatusCode::UNAUTHORIZED, "the token of http.token_file is needed\n"),
            Denied::Site => (
                StatusCode::FORBIDDEN,
                "only for programs of this host, by the address 127.0.0.1, [::1] or localhost\n",
            ),
        };
        let mut response = text(status, why.to_owned());
        if denied == Denied::Token {
            let scheme = HeaderValue::from_static("Bearer realm=\"profiler-agent\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
