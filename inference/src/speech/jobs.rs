//! A speech request's way through the model: encoded, its language found, decoded, judged, aligned.

use std::sync::Arc;

use super::SpeechModel;
use super::request::{AudioContext, SpeechHypothesis, SpeechRequest};
use crate::decode::{Decoded, Strategy, Task};
use crate::decoder::Source;
use crate::error::ModelError;
use crate::model_thread::{Answers, BatchLimits, Model, Ticket};

/// A request under way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Arc<SpeechRequest>,
    pub(super) source: Source,
    pub(super) context: AudioContext,
    pub(super) language: String,
    pub(super) language_probability: f32,
    /// Its text so far was forced, these tokens.
    pub(super) prompt: Vec<u32>,
    /// The request's prefix begins at this index of them.
    pub(super) text_from: usize,
    /// Temperatures tried before.
    pub(super) attempts: usize,
    pub(super) temperature: f32,
}

impl Model for SpeechModel {
    type Request = SpeechRequest;
    type Answer = SpeechHypothesis;

    /// In samples.
    fn cost(request: &SpeechRequest) -> usize {
        request.pcm.len()
    }

    fn admit(&mut self, requests: Vec<(Ticket, Arc<SpeechRequest>)>) -> Result<(), ModelError> {
        let tickets: Vec<Ticket> = requests.iter().map(|(ticket, _)| *ticket).collect();
        let outcome = self.on_threads(|model| model.take_in(requests));
        if outcome.is_err() {
            self.forget(&tickets)?;
        }
        outcome
    }

    fn step(&mut self) -> Result<Answers<SpeechHypothesis>, ModelError> {
        self.on_threads(Self::move_on)
    }

    fn withdraw(&mut self, ticket: Ticket) -> Result<(), ModelError> {
        self.forget(&[ticket])
    }

    fn reset(&mut self) {
        self.jobs.clear();
        self.ready.clear();
        self.single.clear();
        self.beams.clear();
    }

    /// Full windows of silence: on a device as many as are taken in at once, so that the encoder's largest batch is known
    /// to fit; on a CPU, where nothing is done lazily, one.
    fn warm_up(&mut self, limits: &BatchLimits) -> Result<(), ModelError> {
        let window = self.window_samples();
        let most = if self.network.compute().host_precision().is_some() { 1 } else { limits.max_rows };
        let rows = most.min(limits.max_cost / window.max(1)).max(1);
        let silence = SpeechRequest { pcm: vec![0.0; window], ..SpeechRequest::default() };
        self.transcribe(&vec![silence; rows]).map(drop)
    }
}

impl SpeechModel {
    fn forget(&mut self, tickets: &[Ticket]) -> Result<(), ModelError> {
        self.jobs.retain(|ticket, _| !tickets.contains(ticket));
        self.ready.retain(|(ticket, _)| !tickets.contains(ticket));
        self.single.withdraw(|key| tickets.contains(key))?;
        self.beams.withdraw(|key| tickets.contains(key))
    }

    /// Runs with the model's threads at the kernels' disposal.
    fn on_threads<T: Send>(&mut self, work: impl FnOnce(&mut Self) -> T + Send) -> T {
        if self.network.compute().host_precision().is_none() {
            return work(self); // A GPU's queue of work belongs to this thread.
        }
        let threads = self.threads.clone();
        threads.run(|| work(self))
    }

    fn take_in(&mut self, requests: Vec<(Ticket, Arc<SpeechRequest>)>) -> Result<(), ModelError> {
        let mut sound = Vec::with_capacity(requests.len());
        for (ticket, request) in requests {
            match self.check(&request) {
                Ok(()) => sound.push((ticket, request)),
                Err(error) => self.ready.push((ticket, Err(error))),
            }
        }
        let context = self.options.context;
        let asked: Vec<&SpeechRequest> = sound.iter().map(|(_, request)| request.as_ref()).collect();
        let sources = self.encode(&asked, context)?;
        let languages = self.languages_of(&asked, &sources)?;
        let mut tasks = Vec::with_capacity(sound.len());
        for (((ticket, request), source), (language, language_probability)) in
            sound.into_iter().zip(sources).zip(languages)
        {
            let job = Job {
                request,
                source,
                context,
                language,
                language_probability,
                prompt: Vec::new(),
                text_from: 0,
                attempts: 0,
                temperature: 0.0,
            };
            tasks.extend(self.start(ticket, job)?);
        }
        self.decode(tasks)
    }

    fn check(&self, request: &SpeechRequest) -> Result<(), ModelError> {
        let limit = self.window_samples();
        if request.pcm.len() > limit {
            return Err(ModelError::TooLong { what: "audio (samples)", got: request.pcm.len(), limit });
        }
        match &request.language {
            Some(language) => self.tokens.language(language).map(drop),
            None => Ok(()),
        }
    }

    /// Encodes rows of the same length together; one source a request, in order.
    pub(super) fn encode(
        &mut self,
        requests: &[&SpeechRequest],
        context: AudioContext,
    ) -> Result<Vec<Source>, ModelError> {
        let frames: Vec<usize> = requests.iter().map(|request| self.frames(request.pcm.len(), context)).collect();
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|i| frames[*i]);
        let mut sources: Vec<Option<Source>> = vec![None; requests.len()];
        for run in order.chunk_by(|a, b| frames[*a] == frames[*b]) {
            let length = frames[run[0]];
            let features: Vec<Vec<f32>> = run.iter().map(|i| self.mel.compute(&requests[*i].pcm, length)).collect();
            for (i, source) in run.iter().zip(self.network.sources(&features, length)?) {
                sources[*i] = Some(source);
            }
        }
        Ok(sources.into_iter().flatten().collect())
    }

    /// The job's next decode; where nothing can be decoded it is answered.
    fn start(&mut self, ticket: Ticket, mut job: Job) -> Result<Option<(Ticket, Source, Task)>, ModelError> {
        let Some(mut task) = self.task(&job.request, &job.language, job.temperature)? else {
            let hypothesis = SpeechHypothesis {
                language: job.language,
                language_probability: job.language_probability,
                truncated: true,
                ..SpeechHypothesis::default()
            };
            self.ready.push((ticket, Ok(hypothesis)));
            return Ok(None);
        };
        job.prompt.clone_from(&task.prompt);
        job.text_from = task.text_from;
        task.bias = self.bias(&job.request, &job.language)?;
        let source = job.source.clone();
        self.jobs.insert(ticket, job);
        Ok(Some((ticket, source, task)))
    }

    fn decode(&mut self, tasks: Vec<(Ticket, Source, Task)>) -> Result<(), ModelError> {
        let (beams, single): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|(.., task)| matches!(task.strategy, Strategy::Beam { .. }));
        let decoder = self.network.decoder();
        let mut done = self.single.admit(decoder, &self.rules, single)?;
        done.extend(self.beams.admit(decoder, &self.rules, beams)?);
        self.judge(done)
    }

    fn move_on(&mut self) -> Result<Answers<SpeechHypothesis>, ModelError> {
        let decoder = self.network.decoder();
        let mut done = self.single.step(decoder, &self.rules)?;
        done.extend(self.beams.step(decoder, &self.rules)?);
        self.judge(done)?;
        Ok(std::mem::take(&mut self.ready))
    }

    /// Answers what is good, starts the rest again.
    fn judge(&mut self, done: Vec<(Ticket, Decoded)>) -> Result<(), ModelError> {
        let mut again = Vec::new();
        for (ticket, decoded) in done {
            let Some(mut job) = self.jobs.remove(&ticket) else { continue };
            if decoded.looped && job.context == AudioContext::Trimmed && self.full_window() {
                // A text that goes round in circles in a trimmed window may not in a full one.
                job.context = AudioContext::Full;
                job.source = self.encode(&[job.request.clone().as_ref()], AudioContext::Full)?.remove(0);
                again.extend(self.start(ticket, job)?);
                continue;
            }
            let hypothesis = self.hypothesis(&job, &decoded)?;
            match self.next_temperature(&job, &hypothesis) {
                Some(temperature) => {
                    job.temperature = temperature;
                    job.attempts += 1;
                    again.extend(self.start(ticket, job)?);
                }
                None => {
                    let hypothesis = self.aligned(&job, &decoded, hypothesis)?;
                    self.ready.push((ticket, Ok(hypothesis)));
                }
            }
        }
        if again.is_empty() { Ok(()) } else { self.decode(again) }
    }
}
