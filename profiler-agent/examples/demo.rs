//! scratch
#![allow(clippy::all, clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
use profiler_agent::model::frame::*;
use profiler_agent::model::losses::Losses;
use profiler_agent::model::names::*;
use profiler_agent::model::observation::*;
use profiler_agent::profile::*;
use profiler_common::thread::ThreadState;
use profiler_common::walk::WalkEnd;
use std::sync::Arc;
use std::time::Instant;

struct Rng(u64);
impl Rng {
    fn next(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn bin(id: u32, path: &str) -> Arc<Binary> {
    Arc::new(Binary {
        id,
        path: path.into(),
        kind: BinaryKind::File,
        build_id: format!("{id:040x}"),
        file: None,
        segments: vec![Segment { file_offset: 0, file_size: 1 << 30, address: 0x1000 }],
        problem: None,
    })
}
fn main() {
    let kind = match std::env::args().nth(1).as_deref() {
        Some("on") => EventKind::OnCpu,
        Some("off") => EventKind::OffCpu,
        _ => EventKind::Wall,
    };
    let out = std::env::args().nth(2).unwrap_or("/tmp/demo.pb.gz".into());
    let n: u64 = std::env::args().nth(3).and_then(|s| s.parse().ok()).unwrap_or(10_000);
    let mut rng = Rng(88172645463325252);
    let bins = [
        bin(0, "/usr/sbin/nginx"),
        bin(1, "/usr/lib/postgresql/15/bin/postgres"),
        bin(2, "/usr/bin/python3.11"),
        bin(3, "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        bin(4, "/opt/app/bin/server"),
        bin(5, "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"),
    ];
    let procs =
        [("nginx", 0usize, 4u32), ("postgres", 1, 6), ("python3.11", 2, 2), ("server", 4, 8)];
    let mut names = Names::new();
    let fname = |b: u64, i: u64| -> (String, String, &'static str) {
        match b {
            4 => (
                format!(
                    "server::{}::handler_{}<alloc::vec::Vec<u8>, core::option::Option<[u8; 32]>>::call",
                    ["auth", "cart", "search", "render"][(i % 4) as usize],
                    i
                ),
                format!("_ZN6server{i}E"),
                "src/handler.rs",
            ),
            1 => (
                [
                    "ExecProcNode",
                    "ExecScan",
                    "heap_getnext",
                    "index_getnext_slot",
                    "btgettuple",
                    "_bt_search",
                    "LWLockAcquire",
                    "PostgresMain",
                    "exec_simple_query",
                    "PortalRun",
                    "standard_ExecutorRun",
                    "ExecHashJoin",
                    "hash_any",
                    "ReadBuffer_common",
                ][(i % 14) as usize]
                    .to_string(),
                String::new(),
                "",
            ),
            0 => (
                [
                    "ngx_process_events_and_timers",
                    "ngx_epoll_process_events",
                    "ngx_http_process_request",
                    "ngx_http_core_run_phases",
                    "ngx_http_gzip_body_filter",
                    "ngx_ssl_write",
                    "ngx_worker_process_cycle",
                    "ngx_event_process_posted",
                ][(i % 8) as usize]
                    .into(),
                String::new(),
                "",
            ),
            2 => (
                [
                    "_PyEval_EvalFrameDefault",
                    "_PyFunction_Vectorcall",
                    "PyObject_Call",
                    "PyDict_GetItem",
                    "_PyObject_Malloc",
                    "PyUnicode_Concat",
                ][(i % 6) as usize]
                    .into(),
                String::new(),
                "",
            ),
            3 => (
                [
                    "__libc_start_main",
                    "malloc",
                    "memcpy",
                    "free",
                    "pthread_mutex_lock",
                    "write",
                    "epoll_wait",
                    "read",
                    "__memmove_avx_unaligned_erms",
                ][(i % 9) as usize]
                    .into(),
                String::new(),
                "",
            ),
            _ => (
                [
                    "EVP_EncryptUpdate",
                    "aesni_gcm_encrypt",
                    "SHA256_Update",
                    "sha256_block_data_order_avx2",
                ][(i % 4) as usize]
                    .into(),
                String::new(),
                "",
            ),
        }
    };
    let kname = [
        "entry_SYSCALL_64_after_hwframe",
        "do_syscall_64",
        "__x64_sys_write",
        "ksys_write",
        "vfs_write",
        "sock_write_iter",
        "tcp_sendmsg",
        "tcp_sendmsg_locked",
        "__tcp_push_pending_frames",
        "tcp_write_xmit",
        "__ip_queue_xmit",
        "ip_output",
    ];
    let mut obs = Vec::new();
    for _ in 0..n {
        let (pname, b, threads) = procs[[0, 1, 1, 2, 3, 3, 3][rng.next(7) as usize]];
        let t = 1 + rng.next(threads as u64) as u32;
        let pid = 1000 + b as u32 * 100;
        let thread = Arc::new(ThreadInfo {
            pid,
            tid: pid + t - 1,
            process: pname.into(),
            thread: if t == 1 {
                pname.into()
            } else {
                format!("{}-worker-{t}", &pname[..4]).into()
            },
            cgroup: format!("/system.slice/{pname}.service").into(),
        });
        let mut stack = Vec::new();
        let u = rng.next(1000) as f64 / 1000.0;
        let spread = if n > 5000 { 3000.0 } else { 40.0 };
        let idx = (u * u * u * spread) as u64;
        let keep = Rng(rng.0);
        let mut pre = Rng(77777 * (b as u64 + 1));
        let mut pre2 = Rng(99991 * (b as u64 + 1) + idx / 6 * 7919);
        let mut own = Rng(1299709 * (idx + 1) + b as u64);
        for _ in 0..5 {
            pre.next(2);
            pre2.next(2);
            own.next(2);
        }
        let depth = 8 + own.next(if spread > 100.0 { 30 } else { 16 });
        // root first
        let mut x = 0u64;
        for d in 0..depth {
            let rng = if d < 5 {
                &mut pre
            } else if d < 9 {
                &mut pre2
            } else {
                &mut own
            };
            x = (x % 10007).wrapping_mul(7).wrapping_add(if rng.next(100) < 60 {
                0
            } else {
                rng.next(3)
            });
            let (bb, off) = if d == 0 {
                (3u64, 0)
            } else if rng.next(12) == 0 {
                (3, x % 9)
            } else if b == 0 && rng.next(8) == 0 {
                (5, x % 4)
            } else {
                (b as u64, (x * 31 + d) % 400)
            };
            let f = Frame::Native { binary: bins[bb as usize].clone(), offset: off * 16 };
            let named = !(bb == 4 && off % 37 == 0);
            if named {
                let (f1, s1, file) = fname(bb, off);
                let mut v = vec![NamedLine {
                    function: f1.as_str().into(),
                    system_name: if s1.is_empty() {
                        f1.as_str().into()
                    } else {
                        s1.as_str().into()
                    },
                    file: file.into(),
                    line: if file.is_empty() { 0 } else { off as u32 + 1 },
                }];
                if bb == 4 && off % 3 == 0 {
                    v.insert(0, NamedLine { function: "<core::slice::iter::Iter<T> as core::iter::traits::iterator::Iterator>::next".into(), system_name: "_ZN4next".into(), file: "iter.rs".into(), line: 7 });
                }
                names.insert(f.key(), v.into());
            }
            stack.push(f);
            if b == 2 && rng.next(10) == 0 {
                let j = Frame::Jit {
                    map: Arc::new(JitMap { id: 1, pid, file: None, path: "/tmp/p".into() }),
                    address: 0x7f0000000000 + rng.next(20) * 64,
                };
                if rng.next(3) > 0 {
                    names.insert(
                        j.key(),
                        Arc::from([NamedLine {
                            function: format!("py::module.function_{}:/app/x.py", 3)
                                .as_str()
                                .into(),
                            system_name: "x".into(),
                            ..Default::default()
                        }]),
                    );
                }
                stack.push(j);
            }
            if rng.next(150) == 0 {
                stack.push(Frame::Unmapped { address: 0xdead0000 + rng.next(100) });
            }
        }
        let mut rng2 = own;
        let rng3 = keep;
        rng = rng3;
        rng.next(2);
        let off = kind.has_off_cpu() && (kind == EventKind::OffCpu || rng.next(2) == 0);
        if off || rng.next(4) == 0 {
            for k in 0..(3 + rng2.next(9)) {
                let f = Frame::Kernel { address: 0xffffffff81000000 + k * 0x1000 };
                names.insert(
                    f.key(),
                    Arc::from([NamedLine {
                        function: kname[k as usize].into(),
                        system_name: kname[k as usize].into(),
                        ..Default::default()
                    }]),
                );
                stack.push(f);
            }
        }
        stack.reverse();
        if rng.next(20) == 0 {
            stack.truncate(12);
            stack.push(Frame::Marker(Marker::UserTruncated(WalkEnd::BrokenChain)));
        }
        let activity = if off {
            Activity::OffCpu(
                [
                    ThreadState::Sleeping,
                    ThreadState::Sleeping,
                    ThreadState::Uninterruptible,
                    ThreadState::Runnable,
                ][rng.next(4) as usize],
            )
        } else {
            Activity::OnCpu
        };
        obs.push(Observation {
            thread,
            stack: stack.into(),
            activity,
            count: 1,
            ns: if off { rng.next(30_000_000) } else { 10_101_010 },
        });
    }
    let obs2 = obs.clone();
    let mut w = Window::new(Limits::default());
    let t = Instant::now();
    for o in obs {
        w.add(o);
    }
    let first = t.elapsed();
    let t = Instant::now();
    for o in obs2 {
        w.add(o);
    }
    let again = t.elapsed();
    println!(
        "add first {} ns, again {} ns; {} samples, {} new frames",
        first.as_nanos() as u64 / n,
        again.as_nanos() as u64 / n,
        w.samples().count(),
        w.take_new_frames().len()
    );
    let mut losses = Losses::default();
    losses.add("samples_lost_ring_full", if n > 20000 { 3 } else { 0 });
    let meta = Meta {
        kind,
        time_nanos: 1_700_000_000_000_000_000,
        duration_nanos: 10_000_000_000,
        period_ns: 10_101_010,
        frequency: 99,
        clock: "cycles".into(),
        min_block_ns: 1000,
        host: "web-1".into(),
        kernel: "6.18.5".into(),
        arch: "x86_64".into(),
        scope: "whole host".into(),
        executable: None,
        losses,
        notes: vec![],
    };
    let t = Instant::now();
    let p = encode(&w, &names, &meta);
    println!(
        "encode {:?}: {} samples {} locations {} functions",
        t.elapsed(),
        p.sample.len(),
        p.location.len(),
        p.function.len()
    );
    let t = Instant::now();
    let gz = profiler_proto::pprof::encode_gz(&p).unwrap();
    println!("gz {:?}: {} bytes", t.elapsed(), gz.len());
    let t = Instant::now();
    println!("valid: {:?} {:?}", profiler_proto::pprof::validate(&p), t.elapsed());
    std::fs::write(&out, gz).unwrap();
    for (f, ext) in [
        (profiler_agent::view::Format::Svg, "svg"),
        (profiler_agent::view::Format::Folded, "folded"),
        (profiler_agent::view::Format::Text, "txt"),
    ] {
        let t = Instant::now();
        let mut b = Vec::new();
        profiler_agent::view::render(f, &p, &Default::default(), &mut b).unwrap();
        println!("{ext}: {:?} {} bytes", t.elapsed(), b.len());
        std::fs::write(format!("{out}.{ext}"), b).unwrap();
    }
}
