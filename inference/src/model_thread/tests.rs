use std::sync::mpsc as blocking;

use super::*;

/// Doubles numbers in as many steps as their last digit says (0: one step). Refuses 13 at the door, panics in a step
/// with 66, has no memory for two requests of which one is 77. 99 breaks it for good. Tells the requests of each step, and then waits to be
/// let go.
struct Doubler {
    seen: blocking::Sender<Vec<u32>>,
    gate: blocking::Receiver<()>,
    under_way: Vec<(Ticket, u32, u32)>,
    broken: bool,
    warm_ups: Arc<AtomicU64>,
}

impl Model for Doubler {
    type Request = u32;
    type Answer = u32;

    fn cost(request: &u32) -> usize {
        *request as usize
    }

    fn admit(&mut self, requests: Vec<(Ticket, Arc<u32>)>) -> Result<(), ModelError> {
        if requests.iter().any(|(_, n)| **n == 13) {
            return Err(ModelError::Compute("no thirteen".to_owned()));
        }
        self.under_way.extend(requests.into_iter().map(|(ticket, n)| (ticket, *n, (*n % 10).max(1))));
        Ok(())
    }

    fn step(&mut self) -> Result<Answers<u32>, ModelError> {
        self.seen.send(self.under_way.iter().map(|(_, n, _)| *n).collect()).unwrap();
        self.gate.recv().unwrap();
        let has = |number: u32| self.under_way.iter().any(|(_, n, _)| *n == number);
        assert!(!has(66), "66 is a bug");
        self.broken |= has(99);
        if self.broken {
            return Err(ModelError::Compute("an illegal address".to_owned()));
        }
        if has(77) && self.under_way.len() > 1 {
            return Err(ModelError::OutOfMemory("77 is large".to_owned()));
        }
        self.under_way.iter_mut().for_each(|(_, _, left)| *left -= 1);
        let done = self.under_way.extract_if(.., |(_, _, left)| *left == 0);
        Ok(done.map(|(ticket, n, _)| (ticket, Ok(n * 2))).collect())
    }

    fn withdraw(&mut self, ticket: Ticket) -> Result<(), ModelError> {
        self.under_way.retain(|(other, ..)| *other != ticket);
        Ok(())
    }

    fn reset(&mut self) {
        self.under_way.clear();
    }

    fn warm_up(&mut self, _: &BatchLimits) -> Result<(), ModelError> {
        assert!(self.under_way.is_empty(), "it has the model for itself");
        self.warm_ups.fetch_add(1, Ordering::Relaxed);
        if self.broken { Err(ModelError::Compute("an illegal address".to_owned())) } else { Ok(()) }
    }
}

struct Rig {
    handle: ModelHandle<Doubler>,
    seen: blocking::Receiver<Vec<u32>>,
    observed: blocking::Receiver<Observation>,
    gate: blocking::Sender<()>,
    warm_ups: Arc<AtomicU64>,
}

impl Rig {
    async fn new(limits: BatchLimits) -> Self {
        let (tell, seen) = blocking::channel();
        let (gate, wait) = blocking::channel();
        let (observe, observed) = blocking::channel();
        let warm_ups = Arc::new(AtomicU64::new(0));
        let counted = warm_ups.clone();
        let (handle, ready) = ModelHandle::spawn(
            "doubler",
            move || Ok(Doubler { seen: tell, gate: wait, under_way: Vec::new(), broken: false, warm_ups: counted }),
            limits,
            Arc::new(move |observation| observe.send(observation).unwrap_or_default()),
        );
        ready.await.unwrap().unwrap();
        Self { handle, seen, observed, gate, warm_ups }
    }

    /// Submits from a task; returns once the request waits in the queue or has reached the model.
    async fn submit(&self, number: u32) -> tokio::task::JoinHandle<Result<u32, ModelError>> {
        let handle = self.handle.clone();
        let task = tokio::spawn(async move { handle.submit(number).await });
        tokio::task::yield_now().await;
        task
    }

    /// Holds the model on a first batch, so that what comes next has to wait.
    async fn occupy(&self) -> tokio::task::JoinHandle<Result<u32, ModelError>> {
        let task = self.submit(1).await;
        assert_eq!(self.seen.recv().unwrap(), [1]);
        task
    }
}

const LIMITS: BatchLimits = BatchLimits { max_rows: 3, max_cost: 100, queue: 8 };

#[tokio::test]
async fn what_waits_joins_the_batch_between_steps_up_to_the_limits() {
    let rig = Rig::new(LIMITS).await;
    let mut tasks = vec![rig.occupy().await];
    for number in [3, 2, 50, 60, 1] {
        tasks.push(rig.submit(number).await);
    }
    assert_eq!(rig.handle.stats().waiting, 5);
    (0..5).for_each(|_| rig.gate.send(()).unwrap());
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap().unwrap());
    }
    assert_eq!(answers, [2, 6, 4, 100, 120, 2]);
    let steps: Vec<_> = rig.seen.try_iter().collect();
    let expected = [vec![3, 2, 50], vec![3, 2, 60], vec![3, 1]];
    assert_eq!(steps, expected, "3 rows at most; whoever is done makes room at the next step");
    let stats = rig.handle.stats();
    assert_eq!((stats.batches, stats.rows, stats.steps, stats.stepped_rows), (4, 6, 4, 9));
    assert_eq!((stats.failed, stats.waiting), (0, 0));
}

#[tokio::test]
async fn an_observer_hears_of_every_request_and_every_step() {
    let rig = Rig::new(LIMITS).await;
    let first = rig.occupy().await;
    let (second, left) = (rig.submit(2).await, rig.submit(5).await);
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    (0..3).for_each(|_| rig.gate.send(()).unwrap());
    assert_eq!((first.await.unwrap().unwrap(), second.await.unwrap().unwrap()), (2, 4));
    drop(rig.handle);
    let heard: Vec<_> = rig.observed.iter().map(|seen| (seen.occasion.name(), seen.rows, seen.cost)).collect();
    let of_one = |cost| [("waited", 1, cost), ("encoded", 1, cost), ("stepped", 1, 0)];
    let expected = [&of_one(1)[..], &[("answered", 1, 1)], &[("waited", 1, 2), ("abandoned", 1, 5)], &of_one(2)[1..]];
    let expected = [&expected.concat()[..], &[("stepped", 1, 0), ("answered", 1, 2)]].concat();
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn no_more_is_taken_in_at_once_than_the_cost_allows() {
    let rig = Rig::new(LIMITS).await;
    let mut tasks = vec![rig.occupy().await];
    for number in [50, 60, 200] {
        tasks.push(rig.submit(number).await);
    }
    (0..4).for_each(|_| rig.gate.send(()).unwrap());
    for (task, answer) in tasks.into_iter().zip([2, 100, 120, 400]) {
        assert_eq!(task.await.unwrap().unwrap(), answer);
    }
    let steps: Vec<_> = rig.seen.try_iter().collect();
    assert_eq!(steps, [vec![50], vec![60], vec![200]], "100 cost at most, and one alone whatever it costs");
}

#[tokio::test]
async fn requests_nobody_waits_for_never_reach_the_model_and_leave_it_between_steps() {
    let rig = Rig::new(LIMITS).await;
    let first = rig.occupy().await;
    let left = rig.submit(2).await;
    let leaves = rig.submit(9).await;
    let stays = rig.submit(3).await;
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    rig.gate.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), 2);
    assert_eq!(rig.seen.recv().unwrap(), [9, 3]);
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    (0..3).for_each(|_| rig.gate.send(()).unwrap());
    assert_eq!(stays.await.unwrap().unwrap(), 6);
    assert_eq!(rig.seen.try_iter().collect::<Vec<_>>(), [vec![3], vec![3]]);
    assert_eq!(rig.handle.stats().abandoned, 2);
}

#[tokio::test]
async fn a_bad_request_fails_alone_and_the_thread_survives() {
    for bad in [13, 66] {
        let rig = Rig::new(LIMITS).await;
        let first = rig.occupy().await;
        let good = rig.submit(5).await;
        let bad = rig.submit(bad).await;
        (0..20).for_each(|_| rig.gate.send(()).unwrap());
        assert_eq!((first.await.unwrap().unwrap(), good.await.unwrap().unwrap()), (2, 10));
        assert!(matches!(bad.await.unwrap(), Err(ModelError::Compute(_))));
        assert_eq!(rig.handle.stats().failed, 1);
        assert_eq!(rig.submit(4).await.await.unwrap().unwrap(), 8, "the thread goes on");
        assert!(rig.warm_ups.load(Ordering::Relaxed) <= 2, "once at the start, and once for the bad one at most");
    }
}

#[tokio::test]
async fn out_of_memory_halves_the_batch_and_nobody_fails() {
    let rig = Rig::new(LIMITS).await;
    let first = rig.occupy().await;
    let (small, large) = (rig.submit(1).await, rig.submit(77).await);
    (0..20).for_each(|_| rig.gate.send(()).unwrap());
    assert_eq!(first.await.unwrap().unwrap(), 2);
    assert_eq!((small.await.unwrap().unwrap(), large.await.unwrap().unwrap()), (2, 154));
    let steps: Vec<_> = rig.seen.try_iter().collect();
    assert_eq!(steps[..3], [vec![1, 77], vec![1], vec![77]], "first together, then one after the other");
    let stats = rig.handle.stats();
    assert_eq!((stats.halved, stats.failed), (1, 0));
}

#[tokio::test]
async fn a_full_queue_makes_the_caller_wait() {
    let rig = Rig::new(BatchLimits { queue: 1, ..LIMITS }).await;
    let first = rig.occupy().await;
    let second = rig.submit(2).await;
    let third = rig.submit(3).await;
    assert_eq!(rig.handle.stats().waiting, 1);
    (0..20).for_each(|_| rig.gate.send(()).unwrap());
    for (task, answer) in [(first, 2), (second, 4), (third, 6)] {
        assert_eq!(task.await.unwrap().unwrap(), answer);
    }
}

#[tokio::test]
async fn a_model_that_does_not_load_says_why_and_refuses_work() {
    let broken = || Err::<Doubler, _>(ModelError::NoWeights { path: "models/x".into() });
    let (handle, ready) = ModelHandle::spawn("broken", broken, LIMITS, unobserved());
    assert!(ready.await.unwrap().unwrap_err().to_string().contains("models/x"));
    assert!(matches!(handle.submit(1).await, Err(ModelError::Stopped)));
}

#[tokio::test]
async fn a_device_that_fails_with_good_input_ends_the_thread_and_nobody_waits_for_ever() {
    let rig = Rig::new(LIMITS).await;
    let first = rig.occupy().await;
    let (breaks, waits) = (rig.submit(99).await, rig.submit(5).await);
    (0..20).for_each(|_| {
        rig.gate.send(()).ok(); // Nobody takes those that come after its end.
    });
    assert_eq!(first.await.unwrap().unwrap(), 2);
    let why = rig.handle.broken().await;
    assert!(why.to_string().contains("an illegal address"), "{why}");
    // One of the two was alone on the device and failed; the other never was, and is told so.
    let outcomes = [breaks.await.unwrap(), waits.await.unwrap()];
    let failed = outcomes.iter().filter(|outcome| matches!(outcome, Err(ModelError::Compute(_)))).count();
    let stopped = outcomes.iter().filter(|outcome| matches!(outcome, Err(ModelError::Stopped))).count();
    assert_eq!((failed, stopped), (1, 1), "{outcomes:?}");
    assert!(matches!(rig.submit(1).await.await.unwrap(), Err(ModelError::Stopped)));
}

#[tokio::test]
async fn a_model_that_works_is_never_called_broken() {
    let rig = Rig::new(LIMITS).await;
    (0..20).for_each(|_| rig.gate.send(()).unwrap());
    for bad in [13, 66, 13, 66] {
        assert!(rig.submit(bad).await.await.unwrap().is_err());
    }
    assert_eq!(rig.submit(4).await.await.unwrap().unwrap(), 8);
    let broken = tokio::time::timeout(std::time::Duration::from_millis(50), rig.handle.broken()).await;
    assert!(broken.is_err(), "{broken:?}");
    assert_eq!(rig.warm_ups.load(Ordering::Relaxed), 5, "once at the start, and after each failure");
}

/// Is warm only once it is let be.
struct Cold(blocking::Receiver<()>);

impl Model for Cold {
    type Request = ();
    type Answer = ();

    fn cost((): &()) -> usize {
        1
    }

    fn admit(&mut self, _: Vec<(Ticket, Arc<()>)>) -> Result<(), ModelError> {
        Ok(())
    }

    fn step(&mut self) -> Result<Answers<()>, ModelError> {
        Ok(Vec::new())
    }

    fn withdraw(&mut self, _: Ticket) -> Result<(), ModelError> {
        Ok(())
    }

    fn reset(&mut self) {}

    fn warm_up(&mut self, _: &BatchLimits) -> Result<(), ModelError> {
        self.0.recv().map_err(|_| ModelError::Compute("it stays cold".to_owned()))
    }
}

#[tokio::test]
async fn a_model_is_ready_after_its_first_inference_and_not_before() {
    let (warm, wait) = blocking::channel();
    let (_handle, mut ready) = ModelHandle::spawn("cold", move || Ok(Cold(wait)), LIMITS, unobserved());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), &mut ready).await.is_err(), "loaded, not warm");
    warm.send(()).unwrap();
    ready.await.unwrap().unwrap();
    let (warm, wait) = blocking::channel();
    drop(warm);
    let (_handle, ready) = ModelHandle::spawn("cold", move || Ok(Cold(wait)), LIMITS, unobserved());
    assert!(ready.await.unwrap().unwrap_err().to_string().contains("stays cold"), "one that fails is never ready");
}
