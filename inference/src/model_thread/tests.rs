use std::sync::mpsc as blocking;

use super::*;

/// Doubles numbers in as many steps as their last digit says (0: one step). Refuses 13 at the door, panics in a step
/// with 66, has no memory for two requests of which one is 77. Tells the requests of each step, and then waits to be
/// let go.
struct Doubler {
    seen: blocking::Sender<Vec<u32>>,
    gate: blocking::Receiver<()>,
    under_way: Vec<(Ticket, u32, u32)>,
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
}

struct Rig {
    handle: ModelHandle<Doubler>,
    seen: blocking::Receiver<Vec<u32>>,
    observed: blocking::Receiver<Observation>,
    gate: blocking::Sender<()>,
}

impl Rig {
    async fn new(limits: BatchLimits) -> Self {
        let (tell, seen) = blocking::channel();
        let (gate, wait) = blocking::channel();
        let (observe, observed) = blocking::channel();
        let (handle, ready) = ModelHandle::spawn(
            "doubler",
            move || Ok(Doubler { seen: tell, gate: wait, under_way: Vec::new() }),
            limits,
            Arc::new(move |observation| observe.send(observation).unwrap_or_default()),
        );
        ready.await.unwrap().unwrap();
        Self { handle, seen, observed, gate }
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
