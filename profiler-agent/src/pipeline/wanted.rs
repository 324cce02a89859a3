//! For which processes tables are prepared: those of which stacks can come.

use std::collections::HashSet;

use crate::kernel::control::Processes as Chosen;
use crate::kernel::plan::Plan;
use crate::model::event::{Event, Fork};
use crate::model::space::SpaceChange;

/// The processes that a recording is of.
#[derive(Debug)]
pub struct Wanted {
    /// `None` where any process may be wanted.
    pids: Option<HashSet<u32>>,
    /// No stack comes of these.
    excluded: HashSet<u32>,
    follows_forks: bool,
}

impl Wanted {
    /// Those of a plan.
    pub fn new(plan: &Plan) -> Self {
        let pids = (!plan.pids.is_empty()).then(|| plan.pids.iter().copied().collect());
        let excluded = plan.exclude.pids.iter().copied().collect();
        Self { pids, excluded, follows_forks: plan.follow_forks }
    }

    /// Others are wanted from now on, and excluded. Their descendants are met as their events come.
    pub fn choose(&mut self, chosen: &Chosen) {
        self.pids = (!chosen.wanted.is_empty()).then(|| chosen.wanted.iter().copied().collect());
        self.excluded = chosen.excluded.iter().copied().collect();
    }

    /// Takes an event, in the order of time.
    pub fn apply(&mut self, event: &Event) {
        let Event::Fork(Fork { pid, parent_pid, .. }) = event else { return };
        if !self.follows_forks {
            return;
        }
        for set in [self.pids.as_mut(), Some(&mut self.excluded)].into_iter().flatten() {
            if set.contains(parent_pid) {
                set.insert(*pid);
            }
        }
    }

    /// The changes of wanted processes.
    pub fn of(&mut self, mut changes: Vec<SpaceChange>) -> Vec<SpaceChange> {
        let Self { pids, excluded, .. } = self;
        changes.retain(|change| {
            let ended = change.space.is_none();
            let mut is_in = |set: &mut HashSet<u32>| {
                if ended { set.remove(&change.pid) } else { set.contains(&change.pid) }
            };
            let is_wanted = pids.as_mut().is_none_or(&mut is_in);
            let is_excluded = is_in(excluded);
            is_wanted && !is_excluded
        });
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::plan::Exclude;
    use crate::model::space::Space;

    fn wanted(pids: &[u32], follow_forks: bool) -> Wanted {
        Wanted::new(&Plan { pids: pids.to_vec(), follow_forks, ..Plan::default() })
    }

    fn fork(parent_pid: u32, pid: u32) -> Event {
        Event::Fork(Fork { time_ns: 0, pid, tid: pid, parent_pid, parent_tid: parent_pid })
    }

    fn kept(wanted: &mut Wanted, changes: &[(u32, bool)]) -> Vec<u32> {
        let change = |(pid, lives): &(u32, bool)| SpaceChange {
            pid: *pid,
            space: lives.then(Space::default),
        };
        wanted.of(changes.iter().map(change).collect()).iter().map(|c| c.pid).collect()
    }

    #[test]
    fn without_a_choice_all_are_wanted() {
        assert_eq!(kept(&mut wanted(&[], true), &[(1, true), (2, false)]), [1, 2]);
    }

    #[test]
    fn children_are_wanted_where_they_are_followed() {
        for (follows, expected) in [(true, vec![10, 11, 12]), (false, vec![10])] {
            let mut wanted = wanted(&[10], follows);
            [fork(10, 11), fork(11, 12), fork(1, 20)].iter().for_each(|e| wanted.apply(e));
            let all = [(10, true), (11, true), (12, true), (20, true)];
            assert_eq!(kept(&mut wanted, &all), expected);
        }
    }

    #[test]
    fn what_is_excluded_has_no_tables() {
        let exclude = Exclude { pids: vec![10], ..Exclude::default() };
        let mut wanted = Wanted::new(&Plan { exclude, ..Plan::default() });
        wanted.apply(&fork(10, 11));
        assert_eq!(kept(&mut wanted, &[(10, true), (11, true), (12, true)]), [12]);
        assert_eq!(kept(&mut wanted, &[(10, false), (10, true)]), [10]);
    }

    #[test]
    fn others_are_chosen_while_it_runs() {
        let mut wanted = wanted(&[10], true);
        wanted.choose(&Chosen { wanted: vec![11, 12], excluded: vec![12] });
        assert_eq!(kept(&mut wanted, &[(10, true), (11, true), (12, true)]), [11]);
        wanted.choose(&Chosen::default());
        assert_eq!(kept(&mut wanted, &[(10, true), (11, true), (12, true)]), [10, 11, 12]);
    }

    #[test]
    fn an_id_that_comes_again_is_another_process() {
        let mut wanted = wanted(&[10], true);
        assert_eq!(kept(&mut wanted, &[(10, true), (10, false), (10, true)]), [10, 10]);
    }
}
