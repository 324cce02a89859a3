//! How the budget is shared out between the kernel's tables and what is kept here of them: what processes,
//! lists and tables take here is counted, and the arena has the rest.

use std::time::Instant;

use super::Keeper;
use crate::model::tables::KernelTables;
use crate::runtime::native::lists;
use crate::runtime::native::shelf;

impl<K: KernelTables> Keeper<K> {
    /// Bytes that are taken here.
    pub(super) fn own_bytes(&self) -> u64 {
        self.lists.bytes() + self.shelf.bytes()
    }

    /// Gives the arena what is left. What it has, it keeps.
    pub(super) fn share_out(&mut self) {
        let taken = self.own_bytes() + self.kernel.beside();
        self.kernel.allow(self.budget_bytes.saturating_sub(taken));
    }

    /// Whether another list of so many mappings is within the budget.
    pub(super) fn may_take(&mut self, mappings: usize, now: Instant) -> bool {
        // Each mapping may be of a binary that is new.
        let more = lists::bytes_of_list(mappings) + mappings as u64 * shelf::bytes_of_table();
        let taken = self.own_bytes() + self.kernel.beside() + self.kernel.room(now).mapped;
        taken.saturating_add(more) <= self.budget_bytes
    }
}
