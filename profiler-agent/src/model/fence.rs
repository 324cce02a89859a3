//! The last fence around libraries that read what someone may have made up, or what a disk has damaged: a
//! panic there costs that file, and nothing else.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read`; `None` where it panicked. What `read` touched must not be used again then.
pub fn guard<T>(read: impl FnOnce() -> T) -> Option<T> {
    let outer = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    INSIDE.set(outer);
    result.ok()
}

/// Whether this thread is inside the fence: a panic there is caught, and no fault of the agent.
pub fn is_inside() -> bool {
    INSIDE.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_at_the_fence() {
        assert_eq!(guard(|| 1), Some(1));
        assert_eq!(
            guard(|| guard(|| assert!(is_inside())).map(|()| assert!(is_inside()))),
            Some(Some(()))
        );
        assert_eq!(guard(|| -> () { panic!("inside: {}", is_inside()) }), None);
        assert!(!is_inside());
    }
}
