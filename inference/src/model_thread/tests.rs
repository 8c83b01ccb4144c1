use std::sync::mpsc as blocking;

use super::*;

/// Doubles numbers; refuses 13, panics at 66; tells each batch and then waits to be let go.
struct Doubler {
    seen: blocking::Sender<Vec<u32>>,
    gate: blocking::Receiver<()>,
}

impl Model for Doubler {
    type Request = u32;
    type Answer = u32;

    fn cost(request: &u32) -> usize {
        *request as usize
    }

    fn run(&mut self, batch: &[u32]) -> Result<Vec<u32>, ModelError> {
        self.seen.send(batch.to_vec()).unwrap();
        self.gate.recv().unwrap();
        assert!(!batch.contains(&66), "66 is a bug");
        if batch.contains(&13) {
            return Err(ModelError::Compute("no thirteen".to_owned()));
        }
        Ok(batch.iter().map(|n| n * 2).collect())
    }
}

struct Rig {
    handle: ModelHandle<Doubler>,
    seen: blocking::Receiver<Vec<u32>>,
    gate: blocking::Sender<()>,
}

impl Rig {
    async fn new(limits: BatchLimits) -> Self {
        let (tell, seen) = blocking::channel();
        let (gate, wait) = blocking::channel();
        let (handle, ready) = ModelHandle::spawn("doubler", move || Ok(Doubler { seen: tell, gate: wait }), limits);
        ready.await.unwrap().unwrap();
        Self { handle, seen, gate }
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
async fn what_waits_becomes_one_batch_up_to_the_limits() {
    let rig = Rig::new(LIMITS).await;
    let mut tasks = vec![rig.occupy().await];
    for number in [2, 3, 4, 50, 60] {
        tasks.push(rig.submit(number).await);
    }
    assert_eq!(rig.handle.stats().waiting, 5);
    (0..4).for_each(|_| rig.gate.send(()).unwrap());
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap().unwrap());
    }
    assert_eq!(answers, [2, 4, 6, 8, 100, 120]);
    let batches: Vec<_> = rig.seen.try_iter().collect();
    assert_eq!(batches, [vec![2, 3, 4], vec![50], vec![60]], "3 rows at most, 100 cost at most");
    let stats = rig.handle.stats();
    assert_eq!((stats.batches, stats.rows, stats.failed, stats.waiting), (4, 6, 0, 0));
}

#[tokio::test]
async fn requests_nobody_waits_for_never_reach_the_model() {
    let rig = Rig::new(LIMITS).await;
    let first = rig.occupy().await;
    let left = rig.submit(2).await;
    let stays = rig.submit(3).await;
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    (0..2).for_each(|_| rig.gate.send(()).unwrap());
    assert_eq!((first.await.unwrap().unwrap(), stays.await.unwrap().unwrap()), (2, 6));
    assert_eq!(rig.seen.recv().unwrap(), [3]);
    assert_eq!(rig.handle.stats().abandoned, 1);
}

#[tokio::test]
async fn a_bad_request_fails_alone_and_the_thread_survives() {
    let rig = Rig::new(LIMITS).await;
    for bad in [13, 66] {
        let first = rig.occupy().await;
        let good = rig.submit(5).await;
        let bad = rig.submit(bad).await;
        (0..4).for_each(|_| rig.gate.send(()).unwrap());
        assert_eq!((first.await.unwrap().unwrap(), good.await.unwrap().unwrap()), (2, 10));
        assert!(matches!(bad.await.unwrap(), Err(ModelError::Compute(_))));
        assert_eq!(rig.seen.try_iter().count(), 3, "the batch, then each request alone");
    }
    assert_eq!(rig.handle.stats().failed, 2);
}

#[tokio::test]
async fn a_full_queue_makes_the_caller_wait() {
    let rig = Rig::new(BatchLimits { queue: 1, ..LIMITS }).await;
    let first = rig.occupy().await;
    let second = rig.submit(2).await;
    let third = rig.submit(3).await;
    assert_eq!(rig.handle.stats().waiting, 1);
    (0..3).for_each(|_| rig.gate.send(()).unwrap());
    for (task, answer) in [(first, 2), (second, 4), (third, 6)] {
        assert_eq!(task.await.unwrap().unwrap(), answer);
    }
}

#[tokio::test]
async fn a_model_that_does_not_load_says_why_and_refuses_work() {
    let broken = || Err::<Doubler, _>(ModelError::NoWeights { path: "models/x".into() });
    let (handle, ready) = ModelHandle::spawn("broken", broken, LIMITS);
    assert!(ready.await.unwrap().unwrap_err().to_string().contains("models/x"));
    assert!(matches!(handle.submit(1).await, Err(ModelError::Stopped)));
}
