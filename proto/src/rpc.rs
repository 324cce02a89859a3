//! Details of a gRPC status: how long a server asks us to wait.

use std::time::Duration;

use prost_wire::Message as _;

use crate::wire::google::rpc::{Any, RetryInfo, Status};

/// The name of [`RetryInfo`] among the details of a status.
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The wait that the details of a status (`grpc-status-details-bin`) ask for; `None` where they ask
/// for none, or make no sense.
pub fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = Status::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url == RETRY_INFO)?;
    let delay = RetryInfo::decode(info.value.as_ref()).ok()?.retry_delay?;
    let seconds = u64::try_from(delay.seconds).ok()?;
    Some(Duration::new(seconds, u32::try_from(delay.nanos).ok()?.min(999_999_999)))
}

/// The details of a status that asks for a wait, as a server sends them.
pub fn with_retry_delay(code: i32, delay: Duration) -> Vec<u8> {
    let retry_delay = crate::wire::google::rpc::Duration {
        seconds: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(delay.subsec_nanos()).unwrap_or_default(),
    };
    let value = RetryInfo { retry_delay: Some(retry_delay) }.encode_to_vec().into();
    let details = vec![Any { type_url: RETRY_INFO.to_owned(), value }];
    Status { code, message: String::new(), details }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_comes_through_and_nonsense_is_none() {
        let asked = Duration::from_millis(1500);
        assert_eq!(retry_delay(&with_retry_delay(8, asked)), Some(asked));
        assert_eq!(retry_delay(b"no message at all"), None);
        assert_eq!(retry_delay(&[]), None);
        let negative = crate::wire::google::rpc::Duration { seconds: -1, nanos: 0 };
        let value = RetryInfo { retry_delay: Some(negative) }.encode_to_vec().into();
        let details = vec![Any { type_url: RETRY_INFO.to_owned(), value }];
        assert_eq!(retry_delay(&Status { details, ..Status::default() }.encode_to_vec()), None);
    }
}
