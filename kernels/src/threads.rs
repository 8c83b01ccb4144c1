//! A team of threads that the kernels called inside `Threads::run` share.

/// A team of threads for the kernels.
#[derive(Debug)]
pub struct Threads {
    count: usize,
}

impl Threads {
    /// A team of `count` threads, the caller's included.
    pub fn new(count: usize) -> Self {
        Self { count: count.max(1) }
    }

    /// Runs `work` with the team at the disposal of the kernels it calls.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        work()
    }

    /// Threads of the team, the caller's included.
    pub fn count(&self) -> usize {
        self.count
    }
}
