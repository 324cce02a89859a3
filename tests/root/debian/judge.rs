//! Whether a stack of which nothing is known beforehand is whole: it begins at an entry point, nothing in
//! it says that something is missing, and each frame of which another one was called is behind a call.

use std::cell::RefCell;
use std::path::Path;

use profiler_tests::chain::MARKER;
use profiler_tests::code::Files;
use profiler_tests::stacks::{Frame, Stack};

/// How the kernel is entered: by a system call, by a fault or an interrupt, or by a new thread.
const KERNEL_ENTRIES: [&str; 5] = ["entry_SYSCALL_64", "asm_", "ret_from_fork", "error_", "nmi_"];
/// What glibc begins a thread with, where its debug information names it.
const THREAD: [&str; 2] = ["clone3", "__clone3"];
/// Judges the stacks of one program.
pub struct Judge<'a> {
    file: &'a Path,
    code: RefCell<Files>,
}

impl<'a> Judge<'a> {
    /// For processes that run this file.
    pub fn new(file: &'a Path) -> Self {
        Self { file, code: RefCell::default() }
    }

    /// Whether the stack is whole.
    pub fn is_whole(&self, stack: &Stack) -> bool {
        let is_missing =
            |frame: &Frame| frame.name.starts_with(MARKER) || frame.mapping == "[unknown]";
        let frames = stack.frames.iter().filter(|frame| !frame.is_inlined);
        let (kernel, user): (Vec<&Frame>, Vec<&Frame>) = frames.partition(|f| f.is_kernel());
        !stack.frames.iter().any(is_missing)
            && self.begins(&user)
            && self.calls(&user)
            && is_whole_in_kernel(&kernel)
    }

    /// `_start` and two functions of libc, or the two by which it begins a thread.
    fn begins(&self, user: &[&Frame]) -> bool {
        let [first, second, third, ..] = user else { return false };
        let is_libc = |frame: &Frame| frame.mapping.contains("/libc.so");
        if Path::new(&first.mapping) == self.file {
            let mut code = self.code.borrow_mut();
            let code = code.get(&first.mapping);
            return code.is_some_and(|code| code.is_entry(first.address))
                && is_libc(second)
                && is_libc(third);
        }
        // Without debug information, libc's functions are named by their place.
        let begins_thread = first.name.starts_with('[') || THREAD.contains(&first.name.as_str());
        is_libc(first) && begins_thread && is_libc(second)
    }

    /// Each frame with another one inside of it made a call, or was interrupted by a signal whose handler
    /// is what is inside.
    fn calls(&self, user: &[&Frame]) -> bool {
        let mut files = self.code.borrow_mut();
        let mut is_interrupted = true;
        user.iter().rev().all(|frame| {
            let code = files.get(&frame.mapping);
            let returns = code.is_some_and(|code| code.is_before_signal_return(frame.address));
            let fits = is_interrupted
                || returns
                // The vDSO is no file.
                || code.is_none_or(|code| code.is_call(frame.address));
            is_interrupted = returns;
            fits
        })
    }
}

/// The kernel's own unwinder does not get past a retpoline, whose frame is then the only one: 1 sample in
/// 1,000 where a kernel has them. What is below in user mode is whole all the same.
fn is_whole_in_kernel(frames: &[&Frame]) -> bool {
    match frames {
        [] => true,
        [leaf] if leaf.name.contains("indirect_thunk") => true,
        [first, ..] => {
            // Of a kernel that hides its symbols, the names say nothing.
            first.name.starts_with("[kernel")
                || KERNEL_ENTRIES.iter().any(|entry| first.name.starts_with(entry))
        }
    }
}
