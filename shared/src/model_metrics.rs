//! What the models of a worker do, counted: one for speech and translation, and for several models in one process.
//!
//! Nothing here knows an engine. The worker hands on what its model threads tell, under the words that they use for it.

use std::{path::Path, time::Duration};

use prometheus::{
    Counter, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use crate::{
    audio::samples_to_ms,
    health::add,
    jobs::{AUDIO_JOBS, TRANSLATION_JOBS},
};

/// Seconds; from a step on a GPU to a request that waits for a busy laptop.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Requests in one step.
const ROWS: [f64; 11] = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0];
/// Seconds of computing for a second of audio; 1 is as slow as people speak.
const REAL_TIME: [f64; 12] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0];

/// What a worker's models work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Audio becomes text.
    Speech,
    /// Text becomes text.
    Translation,
}

impl Work {
    fn stream(self) -> &'static str {
        match self {
            Self::Speech => AUDIO_JOBS,
            Self::Translation => TRANSLATION_JOBS,
        }
    }

    /// What the time from taking a request in to answering it is called.
    fn stage(self) -> &'static str {
        match self {
            Self::Speech => "decode",
            Self::Translation => "translate",
        }
    }
}

/// Handles of all metrics; clones share them.
#[derive(Debug, Clone)]
pub struct ModelMetrics {
    stream: &'static str,
    info: IntGaugeVec,
    rows: Histogram,
    waited: Histogram,
    encoded: Histogram,
    under_way: Histogram,
    answered: IntCounter,
    failed: IntCounter,
    abandoned: IntCounter,
    halved: IntCounter,
    busy: Counter,
    /// Of models that hear.
    audio: Option<Audio>,
}

#[derive(Debug, Clone)]
struct Audio {
    milliseconds: IntCounter,
    real_time: Histogram,
}

impl ModelMetrics {
    /// Registers the metrics of the models that do `work`.
    ///
    /// # Errors
    /// When the registry already has them.
    pub fn register(registry: &Registry, work: Work) -> Result<Self, prometheus::Error> {
        let stream = work.stream();
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("stream", stream);
        let buckets = |name: &str, help: &str, buckets: &[f64]| {
            HistogramOpts::new(name, help).const_label("stream", stream).buckets(buckets.to_vec())
        };
        let seconds = buckets("subtide_model_seconds", "Time of a request in each stage of a model.", &SECONDS);
        let seconds = add(registry, HistogramVec::new(seconds, &["stage"])?)?;
        let rows = buckets("subtide_batch_rows", "Requests that moved on together in one step.", &ROWS);
        let requests = opts("subtide_model_requests_total", "Requests to models, by what became of them.");
        let requests = add(registry, IntCounterVec::new(requests, &["outcome"])?)?;
        let info = Opts::new("subtide_model_info", "Always 1; the labels say which models are loaded.");
        let info = info.const_label("stream", stream);
        let halved = opts("subtide_batches_halved_total", "Times the device ran out of memory for a batch.");
        let busy = opts("subtide_model_busy_seconds_total", "Time models spent computing.");
        Ok(Self {
            stream,
            info: add(registry, IntGaugeVec::new(info, &["model", "device", "compute"])?)?,
            rows: add(registry, Histogram::with_opts(rows)?)?,
            waited: seconds.with_label_values(&["wait"]),
            encoded: seconds.with_label_values(&["encode"]),
            under_way: seconds.with_label_values(&[work.stage()]),
            answered: requests.with_label_values(&["answered"]),
            failed: requests.with_label_values(&["failed"]),
            abandoned: requests.with_label_values(&["abandoned"]),
            halved: add(registry, IntCounter::with_opts(halved)?)?,
            busy: add(registry, Counter::with_opts(busy)?)?,
            audio: if work == Work::Speech { Some(Audio::register(registry, stream)?) } else { None },
        })
    }

    /// A model was loaded from `directory`.
    pub fn loaded(&self, directory: &Path, device: &str, compute: &str) {
        let model = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.info.with_label_values(&[model.as_str(), device, compute]).set(1);
    }

    /// Takes in what a model thread tells: `rows` requests that weigh `cost` (samples of 16 kHz audio, or bytes of text)
    /// `waited`, were `encoded`, `stepped`, `answered`, `failed` or `abandoned`, which took `time`; or their batch was
    /// `halved`.
    pub fn observe(&self, occasion: &str, rows: usize, cost: usize, time: Duration) {
        let seconds = time.as_secs_f64();
        match occasion {
            "waited" => self.waited.observe(seconds),
            "encoded" => {
                self.encoded.observe(seconds);
                self.busy.inc_by(seconds);
            }
            "stepped" => {
                #[expect(clippy::cast_precision_loss, reason = "batches are small")]
                self.rows.observe(rows as f64);
                self.busy.inc_by(seconds);
            }
            "answered" => {
                self.under_way.observe(seconds);
                self.answered.inc();
                if let Some(audio) = &self.audio {
                    audio.heard(samples_to_ms(cost as u64), seconds);
                }
            }
            "failed" => self.failed.inc(),
            "abandoned" => self.abandoned.inc(),
            "halved" => self.halved.inc(),
            other => debug_assert!(false, "a model thread tells of `{other}` on {}, which nothing counts", self.stream),
        }
    }
}

impl Audio {
    fn register(registry: &Registry, stream: &str) -> Result<Self, prometheus::Error> {
        let help = "Audio decoded, each decode counted for the whole of its audio.";
        let decoded = Opts::new("subtide_decoded_audio_milliseconds_total", help).const_label("stream", stream);
        let help = "Seconds from taking a decode in to answering it, for each second of its audio.";
        let real_time = HistogramOpts::new("subtide_real_time_factor", help).const_label("stream", stream);
        let real_time = Histogram::with_opts(real_time.buckets(REAL_TIME.to_vec()))?;
        Ok(Self { milliseconds: add(registry, IntCounter::with_opts(decoded)?)?, real_time: add(registry, real_time)? })
    }

    fn heard(&self, audio_ms: u64, seconds: f64) {
        self.milliseconds.inc_by(audio_ms);
        if audio_ms > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a model hears half a minute at once")]
            self.real_time.observe(seconds * 1000.0 / audio_ms as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn a_decode_is_counted_in_every_stage_and_against_its_audio() {
        let registry = Registry::new();
        let speech = ModelMetrics::register(&registry, Work::Speech).unwrap();
        let text = ModelMetrics::register(&registry, Work::Translation).unwrap();
        let told = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for outcome in ["answered", "failed", "abandoned"] {
            let series = format!("subtide_model_requests_total{{outcome=\"{outcome}\",stream=\"audio_jobs\"}} 0\n");
            assert!(told().contains(&series), "{}", told());
        }
        speech.loaded(Path::new("/models/openai/whisper-tiny"), "cuda:0", "bf16");
        speech.observe("waited", 1, 48_000, Duration::from_millis(4));
        speech.observe("encoded", 2, 96_000, Duration::from_millis(20));
        speech.observe("stepped", 2, 0, Duration::from_millis(5));
        speech.observe("answered", 1, 48_000, Duration::from_millis(600));
        text.observe("answered", 1, 30, Duration::from_millis(40));
        let told = told();
        for line in [
            "subtide_model_info{compute=\"bf16\",device=\"cuda:0\",model=\"whisper-tiny\",stream=\"audio_jobs\"} 1",
            "subtide_model_requests_total{outcome=\"answered\",stream=\"audio_jobs\"} 1",
            "subtide_decoded_audio_milliseconds_total{stream=\"audio_jobs\"} 3000",
            "subtide_real_time_factor_bucket{stream=\"audio_jobs\",le=\"0.1\"} 0",
            "subtide_real_time_factor_bucket{stream=\"audio_jobs\",le=\"0.2\"} 1",
            "subtide_batch_rows_sum{stream=\"audio_jobs\"} 2",
            "subtide_model_busy_seconds_total{stream=\"audio_jobs\"} 0.025",
            "subtide_model_seconds_sum{stage=\"decode\",stream=\"audio_jobs\"} 0.6",
            "subtide_model_seconds_count{stage=\"translate\",stream=\"translation_jobs\"} 1",
        ] {
            assert!(told.contains(&format!("{line}\n")), "{line}\n{told}");
        }
        assert!(!told.contains("subtide_real_time_factor_sum{stream=\"translation_jobs\"}"));
    }
}
