//! Which container a process is in, by the path of its cgroup.
//!
//! No runtime documents its paths as an interface, but few rules find all of them: the id stands alone
//! (`cgroupfs`), or in the name of a scope behind the runtime's prefix (`systemd`). `container/layouts.txt` has the
//! paths of real runtimes.

/// Digits of an id that a runtime makes.
const ID_DIGITS: usize = 64;

/// Processes that watch over a container have a cgroup that bears its id, and are not in it.
const MONITORS: &[&str] = &["libpod-conmon-", "crio-conmon-", "lxc.monitor."];

/// Folders whose entries bear the name of a container: those of LXC before version 4, and of `ctr`.
const FOLDERS: &[&str] = &["lxc", "k8s.io"];

/// A container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Container<'a> {
    /// Its id, of 64 hex digits mostly; the name where the path has no other.
    pub(super) id: &'a str,
}

impl<'a> Container<'a> {
    /// The innermost container of a cgroup's path, which may be relative to a cgroup of our own
    /// (`/../../podUID/ID`); `None` where it is in none.
    ///
    /// Who may make cgroups below its own can make one that looks like another container's: what this tells is a
    /// name for people, and grants nothing.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let mut outwards = path.rsplit('/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = outwards.next() {
            // What is further in than a monitor's own cgroup is the monitor's too.
            if MONITORS.iter().any(|monitor| part.starts_with(monitor)) {
                return None;
            }
            if let Some(id) = id(part, outwards.peek().copied()) {
                return Some(Self { id });
            }
        }
        None
    }

    /// As people write it: the first 12 digits of an id, and a name as it is.
    pub(super) fn short(&self) -> &'a str {
        if is_id(self.id) { self.id.get(..12).unwrap_or(self.id) } else { self.id }
    }
}

/// The id or name that a part of a path stands for.
fn id<'a>(part: &'a str, folder: Option<&str>) -> Option<&'a str> {
    let scope = part.strip_suffix(".scope");
    let machine = || scope?.strip_prefix("machine-");
    let nspawn = || part.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
    if let Some(name) = part.strip_prefix("lxc.payload.").or_else(machine).or_else(nspawn) {
        return Some(name).filter(|name| !name.is_empty());
    }
    // Behind the runtime: cri-containerd-ID, ….slice:cri-containerd:ID, kata_ID.
    let last = scope.unwrap_or(part).rsplit(['-', ':', '_']).next().unwrap_or(part);
    if is_id(last) {
        return Some(last);
    }
    (is_of_fargate(part) || folder.is_some_and(|folder| FOLDERS.contains(&folder))).then_some(part)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether it is an id of AWS Fargate: that of the task and a number, `0123456789abcdef0123456789abcdef-1234567890`.
fn is_of_fargate(part: &str) -> bool {
    part.split_once('-').is_some_and(|(task, number)| {
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        task.len() == 32 && is_hex(task) && is_number
    })
}

#[cfg(test)]
mod tests;
