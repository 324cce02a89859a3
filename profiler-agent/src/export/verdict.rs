//! What an answer means: whether another try may help, as each backend has it.

use std::time::Duration;

use tonic::{Code, Status};

use super::channel::Failed;
use super::outcome::{Outcome, Sent};

/// By which rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// Pyroscope and Parca. Both say UNKNOWN for what may pass (one of them while it starts) and for
    /// what may not; RESOURCE_EXHAUSTED is a rate limit and says nothing of how long.
    Servers,
    /// OTLP, whose specification lists what may be tried again.
    Otlp,
}

/// What to make of a failure.
pub(super) fn outcome(rules: Rules, failed: Failed) -> Outcome {
    match failed {
        Failed::NotSent(reason) => Outcome::Retry { reason, after: None, sent: Sent::No },
        Failed::Silence(reason) => Outcome::Retry { reason, after: None, sent: Sent::AnswerLost },
        Failed::Status(status) => of_status(rules, &status),
    }
}

fn of_status(rules: Rules, status: &Status) -> Outcome {
    let reason = format!("{:?}: {}", status.code(), status.message());
    let after = wait(status);
    let is_retryable = match (rules, status.code()) {
        (_, Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented) => {
            return Outcome::Hold { reason };
        }
        // The agent itself ends a request by this; the server may have it.
        (_, Code::Cancelled | Code::DeadlineExceeded | Code::DataLoss) => {
            return Outcome::Retry { reason, after, sent: Sent::AnswerLost };
        }
        (_, Code::Unavailable | Code::Aborted) => true,
        (Rules::Otlp, Code::ResourceExhausted) => after.is_some(),
        (Rules::Otlp, code) => code == Code::OutOfRange,
        // Whoever says these may have stored it before.
        (Rules::Servers, Code::Unknown | Code::Internal) => {
            return Outcome::Retry { reason, after, sent: Sent::AnswerLost };
        }
        (Rules::Servers, code) => code == Code::ResourceExhausted,
    };
    if is_retryable {
        Outcome::Retry { reason, after, sent: Sent::Answered }
    } else {
        Outcome::Final { reason }
    }
}

/// How long the server asks us to wait: by RetryInfo, or by the header of HTTP.
fn wait(status: &Status) -> Option<Duration> {
    let by_details = profiler_proto::rpc::retry_delay(status.details());
    let by_header = || {
        let header = status.metadata().get("retry-after")?;
        header.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
    };
    by_details.or_else(by_header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Code::*;

    fn judge(rules: Rules, code: Code) -> &'static str {
        match of_status(rules, &Status::new(code, "")) {
            Outcome::Delivered => "delivered",
            Outcome::Retry { sent: Sent::AnswerLost, .. } => "retry, lost",
            Outcome::Retry { .. } => "retry",
            Outcome::Hold { .. } => "hold",
            Outcome::Final { .. } => "final",
        }
    }

    #[test]
    fn each_code_is_judged_as_its_backend_means_it() {
        for (code, servers, otlp) in [
            (Cancelled, "retry, lost", "retry, lost"),
            (Unknown, "retry, lost", "final"),
            (InvalidArgument, "final", "final"),
            (DeadlineExceeded, "retry, lost", "retry, lost"),
            (NotFound, "final", "final"),
            (AlreadyExists, "final", "final"),
            (PermissionDenied, "hold", "hold"),
            (ResourceExhausted, "retry", "final"),
            (FailedPrecondition, "final", "final"),
            (Aborted, "retry", "retry"),
            (OutOfRange, "final", "retry"),
            (Unimplemented, "hold", "hold"),
            (Internal, "retry, lost", "final"),
            (Unavailable, "retry", "retry"),
            (DataLoss, "retry, lost", "retry, lost"),
            (Unauthenticated, "hold", "hold"),
        ] {
            assert_eq!(judge(Rules::Servers, code), servers, "{code:?}");
            assert_eq!(judge(Rules::Otlp, code), otlp, "{code:?}");
        }
    }

    #[test]
    fn a_server_may_ask_for_a_wait() {
        let details =
            profiler_proto::rpc::with_retry_delay(ResourceExhausted as i32, Duration::from_secs(7));
        let status = Status::with_details(ResourceExhausted, "", details.into());
        let due = Outcome::Retry {
            reason: "ResourceExhausted: ".to_owned(),
            after: Some(Duration::from_secs(7)),
            sent: Sent::Answered,
        };
        assert_eq!(of_status(Rules::Otlp, &status), due);
        let mut status = Status::unavailable("");
        status.metadata_mut().insert("retry-after", "30".parse().unwrap());
        assert_eq!(wait(&status), Some(Duration::from_secs(30)));
    }
}
