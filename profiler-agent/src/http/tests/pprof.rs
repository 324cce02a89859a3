//! `go tool pprof` as a client: with no credentials, and with a token as the password of its address.

use std::process::Output;

use bytes::Bytes;
use tokio::process::Command;

use super::{Endpoint, loopback};

/// A profile of one sample in `busy_place`: 5 ns of CPU time.
const PROFILE: &[u8] = b"\x0a\x04\x08\x01\x10\x02\x12\x04\x08\x01\x10\x05\
    \x22\x06\x08\x01\x22\x02\x08\x01\x2a\x04\x08\x01\x10\x03\
    \x32\x00\x32\x03cpu\x32\x0bnanoseconds\x32\x0abusy_place";

const TOKEN: &str = "an-ordinary-token-of-some-length";

/// Runs it; `None` on a machine without Go.
async fn go_tool_pprof(address: &str) -> Option<Output> {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("go");
    command.args(["tool", "pprof", "-symbolize=none", "-top", address]);
    command.env("PPROF_TMPDIR", directory.path());
    match command.output().await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("no Go here: `go tool pprof` was not tried");
            None
        }
        output => Some(output.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_tool_pprof_is_served() {
    let endpoint = Endpoint::start(|config| {
        loopback(config);
        let path = config.socket.as_ref().unwrap().with_file_name("token");
        std::fs::write(&path, TOKEN).unwrap();
        config.token_file = Some(path);
    })
    .await;
    *endpoint.agent.profile.lock().unwrap() = Bytes::from_static(PROFILE);
    let address = endpoint.address.unwrap();
    let path = "debug/pprof/profile?seconds=1&pid=1";
    let Some(served) = go_tool_pprof(&format!("http://me:{TOKEN}@{address}/{path}")).await else {
        return;
    };
    let (text, errors) = (
        String::from_utf8_lossy(&served.stdout).into_owned(),
        String::from_utf8_lossy(&served.stderr).into_owned(),
    );
    assert!(text.contains("busy_place") && text.contains("Type: cpu"), "{text}{errors}");
    let refused = go_tool_pprof(&format!("http://{address}/{path}")).await.unwrap();
    assert!(!refused.status.success());
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(errors.contains("401"), "{errors}");
}
