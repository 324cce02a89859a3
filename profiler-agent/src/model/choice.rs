//! Which of the two kinds of time a recording is about.

/// What is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EventChoice {
    /// Time on a CPU, by a clock that samples.
    #[default]
    OnCpu,
    /// Time off the CPU, by the scheduler's switches.
    OffCpu,
    /// Both, in one profile.
    Wall,
}

impl EventChoice {
    /// Whether the sampling clock runs.
    pub const fn on_cpu(self) -> bool {
        matches!(self, Self::OnCpu | Self::Wall)
    }

    /// Whether the scheduler's switches are followed.
    pub const fn off_cpu(self) -> bool {
        matches!(self, Self::OffCpu | Self::Wall)
    }

    /// The name that flags and profiles use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnCpu => "on-cpu",
            Self::OffCpu => "off-cpu",
            Self::Wall => "wall",
        }
    }
}
