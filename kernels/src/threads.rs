//! A team of threads that the kernels called inside `Threads::run` share.
//!
//! A step of decoding calls some sixty kernels of a few microseconds each, so a member of the team that has done its
//! part looks out for the next for a while before it sleeps, and a call never waits for one that has not woken: who is
//! there takes what is left of the tasks. What a member has begun has to be waited for, though: where other programs keep
//! the processors busy and one is put aside in the middle of a task, the next calls are done by their caller alone, more
//! of them each time it happens again.

#![allow(unsafe_code)]

use std::{
    cell::{Cell, UnsafeCell},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::*},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long a member looks out for the next tasks before it sleeps.
const WATCH: Duration = Duration::from_micros(100);
/// A member that makes its caller wait longer than this, and longer than the caller's own part took, was put aside.
const LATE: Duration = Duration::from_micros(100);
/// Calls done alone after that: so many at first, twice as many each time it happens again, up to...
const ALONE: u32 = 16;
/// ...this many. They halve with every `ALONE` calls in which nobody was late.
const ALONE_MOST: u32 = 1024;
/// In `Team::state`: whether members may still join. Below it is how many are at work, above it the number of the call.
const OPEN: u64 = 1 << 31;
const CALL: u64 = 1 << 32;

type Task = dyn Fn(usize) + Sync;

struct Team {
    state: AtomicU64,
    /// Whether a call is being served; a second at the same time is done by its caller alone.
    busy: AtomicBool,
    task: UnsafeCell<Option<*const Task>>,
    tasks: AtomicUsize,
    next: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    sleeping: AtomicUsize,
    bed: Mutex<()>,
    bell: Condvar,
    count: usize,
    /// Calls still to be done alone.
    alone: AtomicU32,
    /// How many it will be the next time.
    lapse: AtomicU32,
    /// Calls since, in which nobody was late.
    punctual: AtomicU32,
}

// SAFETY: `task` is written only by the holder of `busy` while no member is at work, and read only by members at work,
// who joined after the write through `state`.
unsafe impl Send for Team {}
unsafe impl Sync for Team {}

thread_local! {
    /// The team of the `Threads::run` that this thread is in.
    static TEAM: Cell<*const Team> = const { Cell::new(ptr::null()) };
}

/// A team of threads for the kernels.
pub struct Threads {
    team: Arc<Team>,
    members: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Threads {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Threads").field("count", &self.team.count).finish_non_exhaustive()
    }
}

/// Sets the thread's team for as long as it lives.
struct Joined(*const Team);

impl Joined {
    fn set(team: *const Team) -> Self {
        Self(TEAM.replace(team))
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        TEAM.set(self.0);
    }
}

impl Threads {
    /// A team of `count` threads, the caller's included. Fewer where the system gives no more.
    pub fn new(count: usize) -> Self {
        let team = Arc::new(Team {
            state: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            task: UnsafeCell::new(None),
            tasks: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            bed: Mutex::new(()),
            bell: Condvar::new(),
            count: count.max(1),
            alone: AtomicU32::new(0),
            lapse: AtomicU32::new(ALONE),
            punctual: AtomicU32::new(0),
        });
        let member = |number| {
            let team = Arc::clone(&team);
            std::thread::Builder::new().name(format!("kernels-{number}")).spawn(move || team.serve()).ok()
        };
        let members = (1..count.max(1)).filter_map(member).collect();
        Self { team, members }
    }

    /// Runs `work` on this thread, with the team at the disposal of the kernels it calls.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let _joined = Joined::set(Arc::as_ptr(&self.team));
        if self.team.alone.load(Relaxed) == 0 {
            self.team.wake();
        }
        work()
    }

    /// Threads of the team, the caller's included.
    pub fn count(&self) -> usize {
        self.team.count
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.team.stop.store(true, SeqCst);
        {
            let _bed = self.team.bed.lock().unwrap_or_else(PoisonError::into_inner);
            self.team.bell.notify_all();
        }
        for member in self.members.drain(..) {
            // A member catches its tasks' panics; there is nothing to learn from it.
            drop(member.join());
        }
    }
}

impl Team {
    fn wake(&self) {
        if self.sleeping.load(SeqCst) > 0 {
            let _bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
            self.bell.notify_all();
        }
    }

    /// Whether a call after `seen` can be joined.
    fn is_open(&self, seen: u64) -> bool {
        let state = self.state.load(SeqCst);
        state & OPEN != 0 && state / CALL != seen
    }

    /// What a member does all its life.
    fn serve(&self) {
        let mut seen = 0;
        let mut since = Instant::now();
        while !self.stop.load(Relaxed) {
            if let Some(call) = self.join(seen) {
                self.work();
                self.state.fetch_sub(1, Release);
                seen = call;
                since = Instant::now();
                continue;
            }
            for _ in 0..64 {
                std::hint::spin_loop();
                if self.is_open(seen) {
                    break;
                }
            }
            if since.elapsed() > WATCH {
                self.sleep(seen);
                since = Instant::now();
            }
        }
    }

    fn sleep(&self, seen: u64) {
        let bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, SeqCst);
        if !self.is_open(seen) && !self.stop.load(SeqCst) {
            drop(self.bell.wait(bed).unwrap_or_else(PoisonError::into_inner));
        }
        self.sleeping.fetch_sub(1, SeqCst);
    }

    fn join(&self, seen: u64) -> Option<u64> {
        let mut state = self.state.load(Acquire);
        while state & OPEN != 0 && state / CALL != seen {
            match self.state.compare_exchange_weak(state, state + 1, AcqRel, Acquire) {
                Ok(_) => return Some(state / CALL),
                Err(now) => state = now,
            }
        }
        None
    }

    /// Takes tasks until none is left.
    fn work(&self) {
        // SAFETY: the call is open to this thread (see `Team`), and `each` returns only when all who joined are done.
        let Some(task) = (unsafe { (*self.task.get()).map(|task| &*task) }) else { return };
        let tasks = self.tasks.load(Relaxed);
        let all = || {
            loop {
                let at = self.next.fetch_add(1, Relaxed);
                if at >= tasks {
                    break;
                }
                task(at);
            }
        };
        if catch_unwind(AssertUnwindSafe(all)).is_err() {
            self.panicked.store(true, Relaxed);
            self.next.store(tasks, Relaxed);
        }
    }

    /// Whether this call is one of those to be done alone.
    fn is_alone(&self) -> bool {
        self.alone.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Learns from a call whether the team is worth its trouble at present. Called by the holder of `busy`.
    fn note(&self, late: bool) {
        let lapse = self.lapse.load(Relaxed);
        if late {
            self.alone.store(lapse, Relaxed);
            self.lapse.store((lapse * 2).min(ALONE_MOST), Relaxed);
            self.punctual.store(0, Relaxed);
        } else if self.punctual.fetch_add(1, Relaxed) >= ALONE {
            self.lapse.store((lapse / 2).max(ALONE), Relaxed);
            self.punctual.store(0, Relaxed);
        }
    }

    /// Shares the tasks among the team.
    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync + '_)) {
        // SAFETY: only the lifetime is changed; `work` uses the task while this call waits for all who joined.
        let task =
            unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const Task>(ptr::from_ref(task)) };
        // SAFETY: `busy` is held, and nobody is at work: the last call waited for that.
        unsafe { *self.task.get() = Some(task) };
        self.tasks.store(tasks, Relaxed);
        self.next.store(0, Relaxed);
        let call = self.state.load(Relaxed) / CALL + 1;
        self.state.store(((call & 0x7fff_ffff) * CALL) | OPEN, SeqCst);
        self.wake();
        let begun = Instant::now();
        {
            let _alone = Joined::set(ptr::null());
            self.work();
        }
        let worked = begun.elapsed();
        self.state.fetch_and(!OPEN, AcqRel);
        let mut turns = 0u32;
        while self.state.load(Acquire) & (OPEN - 1) != 0 {
            turns += 1;
            // A member that the system has put aside is waited for without taking its processor.
            if turns < 10_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        self.note(begun.elapsed().saturating_sub(worked) > worked.max(LATE));
        self.busy.store(false, Release);
    }
}

/// How many threads `each` may count on here.
pub(crate) fn available() -> usize {
    let team = TEAM.get();
    // SAFETY: the pointer is set only while `Threads::run` borrows the team.
    if team.is_null() { 1 } else { unsafe { (*team).count } }
}

/// Calls `task` with each of 0..tasks once, on this thread and those of its team that are free.
pub(crate) fn each(tasks: usize, task: impl Fn(usize) + Sync) {
    let team = TEAM.get();
    // SAFETY: the pointer is set only while `Threads::run` borrows the team.
    let team = (!team.is_null()).then(|| unsafe { &*team });
    match team {
        Some(team) if tasks > 1 && team.count > 1 && !team.is_alone() && !team.busy.swap(true, Acquire) => {
            team.each(tasks, &task);
            if team.panicked.swap(false, Relaxed) {
                resume_unwind(Box::new("a kernel's task panicked"));
            }
        }
        _ => (0..tasks).for_each(task),
    }
}

/// A pointer that tasks write disjoint parts through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared<T>(pub(crate) *mut T);

// SAFETY: a user of `Shared` promises that its tasks touch disjoint parts.
unsafe impl<T> Send for Shared<T> {}
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The pointer; a method, so that closures take the whole and not its field.
    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_runs_once_and_what_it_wrote_is_seen() {
        for count in [1, 2, 5] {
            let threads = Threads::new(count);
            for round in 0..2000 {
                let tasks = round % 37;
                let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                threads.run(|| {
                    each(tasks, |at| {
                        done[at].fetch_add(1, Relaxed);
                    })
                });
                assert!(done.iter().all(|times| times.load(Relaxed) == 1), "{count} threads, {tasks} tasks");
            }
        }
    }

    #[test]
    fn a_member_that_was_put_aside_costs_its_team_some_calls_and_then_is_tried_again() {
        let threads = Threads::new(2);
        let team = &threads.team;
        team.note(true);
        assert_eq!((0..2 * ALONE).filter(|_| team.is_alone()).count() as u32, ALONE);
        team.note(true);
        assert_eq!((0..4 * ALONE).filter(|_| team.is_alone()).count() as u32, 2 * ALONE);
        (0..100 * ALONE).for_each(|_| team.note(true));
        assert_eq!(team.lapse.load(Relaxed), ALONE_MOST);
        (0..100 * ALONE).for_each(|_| team.note(false));
        assert_eq!(team.lapse.load(Relaxed), ALONE, "a team that is punctual again is trusted again");
    }

    #[test]
    fn a_panic_of_a_task_reaches_the_caller_and_the_team_works_on() {
        let threads = Threads::new(2);
        for _ in 0..20 {
            let failed = catch_unwind(AssertUnwindSafe(|| threads.run(|| each(9, |at| assert!(at != 5)))));
            assert!(failed.is_err());
            let sum = AtomicUsize::new(0);
            threads.run(|| {
                each(100, |at| {
                    sum.fetch_add(at, Relaxed);
                })
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }

    #[test]
    fn calls_from_several_threads_and_from_within_tasks_are_all_served() {
        let threads = Threads::new(3);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    threads.run(|| {
                        for _ in 0..200 {
                            each(5, |_| {
                                each(3, |at| {
                                    sum.fetch_add(at, Relaxed);
                                })
                            });
                        }
                    });
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 200 * 5 * 3);
    }
}
