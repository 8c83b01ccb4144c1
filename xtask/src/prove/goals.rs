//! What was promised. A number here is never loosened: what cannot be reached is reported as falling short.

/// The promises of `prove pipeline`.
pub(crate) mod pipeline {
    pub(crate) const DEMO: &str = "fresh clone, `cargo run --release -- demo`: the first caption text within 2 s of the first \
         word of the recording (after start-up), the final translation within 1.5 s of the end of each utterance, on 2 \
         cores, medians over the demo.";
    /// Seconds from the first word to the first caption text.
    pub(crate) const FIRST_TEXT_S: f64 = 2.0;
    /// Seconds from the end of an utterance to its final translation, median.
    pub(crate) const FINAL_TRANSLATION_S: f64 = 1.5;
    /// On so many cores.
    pub(crate) const CORES: usize = 2;

    pub(crate) const CLEAN_CLONE: &str =
        "`cargo xtask test` green in a clean clone on a machine without redis-server installed beforehand.";

    pub(crate) const EXACTLY_ONCE: &str = "`subtide caption` on a file: every final appears exactly once and in order; \
         the same with 3 stt-workers on Redis of which one is killed (SIGKILL) mid-job.";

    pub(crate) const BAD_INPUT: &str = "bad input: a text frame that is not JSON, unknown type, odd byte count, 65 KiB \
         frame, wrong sample rate, missing `start`, a truncated wav, a model directory without weights, no Redis at \
         REDIS_URL: a clear error that names the cause, the right close code, no panic, other sessions unharmed.";

    pub(crate) const MEMORY: &str =
        "memory of the all-in-one process with demo models <= 400 MB; idle session <= 200 KB.";
    /// Megabytes (10^6 bytes) of the all-in-one process at its largest.
    pub(crate) const PROCESS_MB: f64 = 400.0;
    /// Kilobytes (10^3 bytes) that one more idle session takes.
    pub(crate) const IDLE_SESSION_KB: f64 = 200.0;
}
