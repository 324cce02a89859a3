//! Servers, each with the client that its project measures it by. They listen on sockets in their
//! directory, or on a free port of the loopback device.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Debian;
use crate::wait;

/// redis-server, under redis-benchmark.
pub const REDIS: Debian = Debian {
    name: "redis-server",
    processes: 1,
    start: |work| {
        let server = PathBuf::from("/usr/bin/redis-server");
        let options = ["--port", "0", "--save", "", "--unixsocket", "redis.sock"];
        work.spawn(Command::new(&server).args(options))?;
        appears(&work.directory().join("redis.sock"))?;
        // Few of each kind of request, again and again: every second is like the one before.
        let load =
            ["-s", "redis.sock", "-l", "-q", "-c", "10", "-P", "4", "-r", "10000", "-n", "2000"];
        let tests = ["-t", "set,get,incr,lpush,lpop,sadd,hset,zadd,lrange_100,mset"];
        work.spawn(Command::new("/usr/bin/redis-benchmark").args(load).args(tests))?;
        Ok(server)
    },
};

/// nginx with one worker, under wrk. It serves a file, packed.
pub const NGINX: Debian = Debian {
    name: "nginx",
    // The worker: its master only waits.
    processes: 1,
    start: |work| {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let configuration = format!(
            "daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;
             events {{ worker_connections 256; }}
             http {{
                 access_log access.log; gzip on; gzip_types text/plain;
                 client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c;
                 uwsgi_temp_path d; scgi_temp_path e;
                 server {{ listen 127.0.0.1:{port}; root .; default_type text/plain; }}
             }}"
        );
        std::fs::write(work.directory().join("nginx.conf"), configuration)?;
        let text = super::inputs::text(&mut super::inputs::Numbers::new(4), 200);
        std::fs::write(work.directory().join("page"), text)?;
        let server = PathBuf::from("/usr/sbin/nginx");
        give_away(work.directory())?;
        let directory = work.directory().to_owned();
        let mut nginx = unprivileged(&server);
        nginx.arg("-p").arg(directory).args(["-c", "nginx.conf", "-e", "stderr"]);
        work.spawn(&mut nginx)?;
        appears(&work.directory().join("nginx.pid"))?;
        let address = format!("http://127.0.0.1:{port}/page");
        let load = ["-t", "1", "-c", "16", "-d", "600", "-H", "Accept-Encoding: gzip"];
        work.spawn(Command::new("/usr/bin/wrk").args(load).arg(address))?;
        Ok(server)
    },
};

/// PostgreSQL, under pgbench.
pub const POSTGRES: Debian = Debian {
    name: "postgres",
    // One for each of the four clients, besides those that write and watch.
    processes: 5,
    start: |work| {
        let programs = postgres_programs()?;
        give_away(work.directory())?;
        let run = |program: &str, args: &[&str]| {
            work.run(unprivileged(&programs.join(program)).args(args).env("LC_ALL", "C"))
        };
        run("initdb", &["-D", "data", "-A", "trust", "-U", "postgres", "--no-sync"])?;
        let server = programs.join("postgres");
        let host = work.directory().to_string_lossy().into_owned();
        let options = ["-D", "data", "-k", &host, "-c", "listen_addresses=", "-c", "fsync=off"];
        work.spawn(unprivileged(&server).args(options).env("LC_ALL", "C"))?;
        appears(&work.directory().join(".s.PGSQL.5432"))?;
        let connection = ["-h", &host, "-U", "postgres"];
        let mut initialize = unprivileged(&programs.join("pgbench"));
        initialize.args(connection).args(["-i", "-q", "-s", "2", "postgres"]);
        wait::until("postgres to serve", Duration::from_secs(30), || {
            Ok(work.run(&mut initialize).ok())
        })?;
        let mut load = unprivileged(&programs.join("pgbench"));
        load.args(connection).args(["-c", "4", "-T", "600", "postgres"]);
        work.spawn(&mut load)?;
        Ok(server)
    },
};

/// Debian keeps each version's programs apart.
fn postgres_programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").context("no postgresql")?.flatten();
    let programs = versions.map(|version| version.path().join("bin"));
    programs.filter(|bin| bin.join("initdb").is_file()).max().context("no postgresql server")
}

/// The user `nobody` of Debian: PostgreSQL refuses to be run by root.
const NOBODY: u32 = 65534;

fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.uid(NOBODY).gid(NOBODY);
    command
}

fn give_away(directory: &Path) -> Result<()> {
    Ok(chown(directory, Some(NOBODY), Some(NOBODY))?)
}

fn appears(path: &Path) -> Result<()> {
    let what = path.display().to_string();
    wait::until(&what, Duration::from_secs(30), || Ok(path.exists().then_some(())))
}
