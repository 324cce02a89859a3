//! Whose a stack is: names of process and thread, and the cgroup.

use std::collections::HashMap;
use std::sync::Arc;

use super::life::{Image, Labels, Life};
use super::procfs::Procfs;
use super::service::{self, Rules};
use super::status::Cgroup;
use super::text::comm;
use crate::model::event::RawStack;
use crate::model::observation::ThreadInfo;

/// Cgroups whose paths are kept for every process, at most.
const MAX_CGROUPS: usize = 4096;

/// The paths of cgroups by id.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    v2: HashMap<u64, Arc<str>>,
}

impl Cgroups {
    /// The path of the cgroup that a process was in: its own word while it lives, else that of another
    /// process in the same cgroup, else the id.
    fn path(&mut self, life: &mut Life, raw: &RawStack, procfs: &Procfs) -> Arc<str> {
        if let Some(path) = life.cgroup(raw.cgroup_id) {
            return Arc::clone(path);
        }
        let read = procfs.process(raw.tid).and_then(|dir| dir.read("cgroup"));
        let path = match read.ok().and_then(|text| Cgroup::parse(&text)) {
            Some(cgroup) => self.keep(raw.cgroup_id, &cgroup),
            None => match self.v2.get(&raw.cgroup_id) {
                Some(path) => Arc::clone(path),
                None => format!("id:{}", raw.cgroup_id).into(),
            },
        };
        life.keep_cgroup(raw.cgroup_id, Arc::clone(&path));
        path
    }

    /// A path, the one that others have where it is known.
    fn shared(&self, cgroup: &Cgroup) -> Arc<str> {
        let known = self.v2.values().find(|path| ***path == *cgroup.path);
        known.map_or_else(|| cgroup.path.as_str().into(), Arc::clone)
    }

    /// Keeps a path for others, if it is the one that the id stands for.
    fn keep(&mut self, id: u64, cgroup: &Cgroup) -> Arc<str> {
        if let Some(known) = self.v2.get(&id)
            && **known == *cgroup.path
        {
            return Arc::clone(known);
        }
        let path: Arc<str> = cgroup.path.as_str().into();
        if cgroup.v2 {
            if self.v2.len() >= MAX_CGROUPS {
                self.v2.clear();
            }
            self.v2.insert(id, Arc::clone(&path));
        }
        path
    }
}

/// The labels of the thread that a stack was taken of.
pub(super) fn thread(
    life: &mut Life,
    raw: &RawStack,
    (cgroups, services): (&mut Cgroups, &Rules),
    procfs: &Procfs,
) -> Arc<ThreadInfo> {
    if let Some(labels) = life.thread(raw.tid)
        && labels.comm == raw.comm
        && labels.cgroup_id == raw.cgroup_id
        && Arc::ptr_eq(&labels.info.process, &life.name)
    {
        return Arc::clone(&labels.info);
    }
    let name = comm(&raw.comm);
    // The name of the first thread is that of the process. It may have changed unheard; and where nobody
    // told it, that of another thread is the best there is.
    if (raw.tid == raw.pid || life.name.is_empty()) && *life.name != *name {
        life.name = name.as_str().into();
    }
    let thread = if *life.name == *name { Arc::clone(&life.name) } else { name.into() };
    let cgroup = cgroups.path(life, raw, procfs);
    let service = service_of(life, &cgroup, services);
    let info = Arc::new(ThreadInfo {
        pid: raw.pid,
        tid: raw.tid,
        process: Arc::clone(&life.name),
        thread,
        cgroup,
        service,
    });
    let (comm, cgroup_id) = (raw.comm, raw.cgroup_id);
    life.keep_thread(raw.tid, Labels { comm, cgroup_id, info: Arc::clone(&info) });
    info
}

/// The labels of a thread of which no stack came.
pub(super) fn silent_thread(
    life: &mut Life,
    (pid, tid): (u32, u32),
    (cgroups, services): (&mut Cgroups, &Rules),
    procfs: &Procfs,
) -> Arc<ThreadInfo> {
    if let Some(labels) = life.thread(tid) {
        return Arc::clone(&labels.info);
    }
    let dir = procfs.process(tid);
    let read = |file: &str| dir.as_ref().ok().and_then(|dir| dir.read(file).ok());
    let name = read("comm").map(|name| comm(name.strip_suffix(b"\n").unwrap_or(&name)));
    let cgroup = read("cgroup").and_then(|text| Cgroup::parse(&text));
    let cgroup = match (cgroup, life.last_cgroup()) {
        (Some(cgroup), _) => cgroups.shared(&cgroup),
        (None, Some(path)) => Arc::clone(path),
        (None, None) => "".into(),
    };
    let service = service_of(life, &cgroup, services);
    let process = Arc::clone(&life.name);
    let thread = name.map_or_else(|| Arc::clone(&process), Arc::from);
    Arc::new(ThreadInfo { pid, tid, process, thread, cgroup, service })
}

fn service_of(life: &Life, cgroup: &str, rules: &Rules) -> Arc<str> {
    let exe = match &life.image {
        Image::File(name) => name,
        Image::Unknown | Image::Kernel => "",
    };
    let is_kernel = life.image == Image::Kernel;
    rules.service(service::Facts { cgroup, exe, comm: &life.name, is_kernel })
}
