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

/// The promises of `prove engine`.
pub(crate) mod engine {
    pub(crate) const PARITY: &str = "parity with PyPI `transformers` on random weights of the real configs (whisper tiny, \
         base, large-v3, turbo; opus-mt, NLLB-200-distilled-600M and T5/MADLAD widths): encoder and logits max abs \
         difference <= 1e-3 f32; greedy AND beam-5 tokens identical on >= 20 random inputs; bf16 on a GPU <= 2e-2 \
         relative. SentencePiece ids identical to PyPI `sentencepiece` on >= 1,000 lines; Whisper tokens identical to PyPI \
         `openai-whisper` on >= 1,000 lines in >= 10 scripts; log-mel identical to the feature extractors to 1e-4.";

    pub(crate) const MEL: &str = "log-mel <= 1 ms per second of audio on one core.";
    /// Milliseconds for a second of audio.
    pub(crate) const MEL_MS: f64 = 1.0;

    pub(crate) const PEERS: &str = "on 2 CPU cores, same checkpoint, same audio, one run: whisper-tiny and -base shaped <= \
         1.0x the time of the faster of faster-whisper (int8 and f32) and whisper.cpp, for a 5 s utterance and for 30 s, \
         batch 1; opus-mt shaped >= 1.0x CTranslate2's tokens/s (int8 and f32), batch 1 and 16.";

    pub(crate) const CUDA: &str = "where a GPU is at hand: large-v3 and turbo shaped, bf16, against transformers; >= 40 % of \
         peak FLOP/s in the encoder at batch 16, >= 50 % of bandwidth in decode, >= 1.5x transformers' throughput; >= 400 \
         live streams per H200 for turbo, >= 200 for large-v3. Where none is: the CUDA build compiles and links by a script \
         in the repository.";
}
