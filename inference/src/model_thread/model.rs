//! What a model thread runs.

use std::sync::Arc;

use super::BatchLimits;
use crate::error::ModelError;

/// Names a request while a model works on it.
pub type Ticket = u64;

/// Requests that are done, each with its answer.
pub type Answers<A> = Vec<(Ticket, Result<A, ModelError>)>;

/// What a model thread can run: requests come in, all move on together step by step, and leave when they are done.
pub trait Model: Send + 'static {
    /// What is asked.
    type Request: Send + Sync + 'static;
    /// What comes of it.
    type Answer: Send + 'static;

    /// What a request weighs against [`BatchLimits::max_cost`].
    fn cost(request: &Self::Request) -> usize;

    /// Takes requests in. What can be answered at once, or not at all, is answered by the next [`Model::step`].
    ///
    /// # Errors
    /// When they cannot be taken in together; none of them then is, and those under way are not harmed.
    fn admit(&mut self, requests: Vec<(Ticket, Arc<Self::Request>)>) -> Result<(), ModelError>;

    /// Moves all requests on by a step; hands back those that are done.
    ///
    /// # Errors
    /// When the step failed; [`Model::reset`] must follow.
    fn step(&mut self) -> Result<Answers<Self::Answer>, ModelError>;

    /// Forgets a request whose answer nobody waits for.
    ///
    /// # Errors
    /// As [`Model::step`].
    fn withdraw(&mut self, ticket: Ticket) -> Result<(), ModelError>;

    /// Forgets all requests.
    fn reset(&mut self);

    /// Runs once with made-up input, the largest batch that is taken in at once, so that no caller waits for what is done
    /// lazily, and too large a batch is found out before the first caller comes.
    ///
    /// # Errors
    /// When the model does not work on this machine.
    fn warm_up(&mut self, _limits: &BatchLimits) -> Result<(), ModelError> {
        Ok(())
    }
}

/// Answers a batch, in order, on the calling thread.
///
/// # Errors
/// The first error of any of them.
pub fn run_all<M: Model>(model: &mut M, requests: Vec<M::Request>) -> Result<Vec<M::Answer>, ModelError> {
    let count = requests.len();
    let tickets = requests.into_iter().enumerate().map(|(i, request)| (i as Ticket, Arc::new(request)));
    let mut answers: Vec<Option<M::Answer>> = (0..count).map(|_| None).collect();
    let mut missing = count;
    let outcome = (|| {
        model.admit(tickets.collect())?;
        while missing > 0 {
            for (ticket, answer) in model.step()? {
                answers[ticket as usize] = Some(answer?);
                missing -= 1;
            }
        }
        Ok(())
    })();
    if let Err(error) = outcome {
        model.reset();
        return Err(error);
    }
    Ok(answers.into_iter().flatten().collect())
}
