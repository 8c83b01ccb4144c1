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

/// The promises of `prove streaming`.
pub(crate) mod streaming {
    pub(crate) const CLEAN: &str = "on 2 cores with the demo models, 1 session, clean corpus: word to first shown p50 <= 0.7 s, \
         p95 <= 1.2 s; word to committed p50 <= 1.5 s; end of utterance to final <= 0.5 s p95 beyond SILENCE_THRESHOLD; \
         caption erasure <= 0.15, translation erasure <= 0.20, committed text reworded 0 times ever; WER of streamed finals \
         within 1 point (absolute) of offline decoding of the same utterances.";
    pub(crate) const SHOWN_P50_S: f64 = 0.7;
    pub(crate) const SHOWN_P95_S: f64 = 1.2;
    pub(crate) const COMMITTED_P50_S: f64 = 1.5;
    /// Beyond the silence that ends an utterance.
    pub(crate) const FINAL_P95_S: f64 = 0.5;
    /// Words taken back by words of the final text.
    pub(crate) const CAPTION_ERASURE: f64 = 0.15;
    /// Likewise.
    pub(crate) const TRANSLATION_ERASURE: f64 = 0.20;
    /// Percentage points.
    pub(crate) const WER_POINTS: f64 = 1.0;

    pub(crate) const QUIET: &str = "0 words shown on 10 minutes of silence, hum, tone, clicks and white noise; <= 1 word a \
         minute on music-like noise.";
    pub(crate) const MUSIC_WORDS_A_MINUTE: f64 = 1.0;

    pub(crate) const MONOLOGUE: &str = "3-minute monologue without a pause: captions and translation keep flowing, memory \
         flat, no utterance dropped, no repeated n-gram loop.";
    /// What "keep flowing" means here: two words of slow speech and a decode, with room for a hard sentence.
    pub(crate) const CAPTION_WAIT_S: f64 = 5.0;
    /// A translation waits for a clause.
    pub(crate) const TRANSLATION_WAIT_S: f64 = 8.0;
    /// What "flat" means here: noise of the allocator.
    pub(crate) const MEMORY_GROWTH: f64 = 1.1;

    pub(crate) const SESSIONS: &str = "sessions at once before word to first shown p95 exceeds 2 s on 2 cores: the number, \
         the curve; at 2x that load finals still all arrive and `lag` was sent.";

    pub(crate) const PEER: &str = "the same benchmark pointed at one open peer that installs from PyPI, with the same \
         checkpoint: the ratio.";
}

/// The promises of `prove front-door`.
pub(crate) mod front_door {
    pub(crate) const CREDENTIALS: &str = "a table test of >= 60 bad credentials, 100 % refused before the 101, no 5xx; \
         handshake decision p99 <= 5 ms at 100/s.";
    pub(crate) const BAD_CREDENTIALS: f64 = 60.0;
    pub(crate) const HANDSHAKE_P99_MS: f64 = 5.0;

    pub(crate) const ISSUER: &str = "rotated issuer key accepted after exactly one fetch; 10,000 unknown-kid tokens cause <= 1 \
         fetch a minute; issuer down for an hour breaks no live session.";
    pub(crate) const FETCHES_A_MINUTE: f64 = 1.0;

    pub(crate) const REVOCATION: &str = "100 parallel refreshes of one token -> one successor; reuse of an old one closes the \
         family's sockets on two gateways <= 2 s; logout likewise.";
    pub(crate) const REVOKED_S: f64 = 2.0;

    pub(crate) const RESUME: &str = "50 sessions, 20 rounds of killing a gateway (SIGKILL and SIGTERM) with two gateways on one \
         Redis: 0 finals missing, 0 twice, resumed <= 3 s p95.";
    pub(crate) const RESUMED_P95_S: f64 = 3.0;

    pub(crate) const SECRETS: &str = "canary secrets (token, refresh token, client secret, e-mail, spoken words) appear 0 times \
         in logs, metrics, error bodies, URLs and Redis key names over the whole test run.";

    pub(crate) const NEWCOMER: &str = "docs/SIGN-IN.md: from nothing to signed in with one's own Google project, each value and \
         where to click, and the same with the local OIDC provider in one command.";
    /// What has to be in it, word for word.
    pub(crate) const DOCUMENTED: [&str; 12] = [
        "node tests/oidc-provider/provider.mjs",
        "Web application",
        "Desktop app",
        "/auth/callback",
        "OIDC_CLIENT_ID",
        "OIDC_CLIENT_SECRET",
        "ALLOWED_EMAIL_DOMAINS",
        "redirect_uri_mismatch",
        "org_internal",
        "Test users",
        "subtide sign-in --server",
        "subtide admin keys create",
    ];

    pub(crate) const TUNNEL: &str =
        "no noTLSVerify, admin and metrics never reachable through the tunnel; a lint test that says so.";
}

/// The promises of `prove clients`.
pub(crate) mod clients {
    pub(crate) const BROWSER: &str = "real Chromium with a fake microphone: sign in with the local OIDC provider, speak the \
         sample, captions and translation appear, export SRT equals the finals; network cut for 10 s and back: no word \
         missing; overlay page screenshot.";

    pub(crate) const DESKTOP: &str = "the desktop client in a real window with a compositor: system audio from a PulseAudio null \
         sink -> captions over a patterned background; always-on-top and transparency asserted by window properties; sign-in \
         through the system browser, refresh token in the keychain.";

    pub(crate) const PICTURES: &str = "screenshots of overlay, settings, history, sign-in, in English, Arabic, Hindi, Chinese and \
         Spanish, light and dark, kept in docs/.";
    pub(crate) const SCENES: [&str; 4] = ["overlay", "settings", "history", "sign-in"];
    pub(crate) const LANGUAGES: [&str; 5] = ["en", "ar", "hi", "zh", "es"];
    pub(crate) const THEMES: [&str; 2] = ["light", "dark"];

    pub(crate) const LONG: &str = "1 h of captions: UI memory flat, >= 55 fps while captions update, <= 5 % of one core \
         idle-listening.";
    /// Memory at the end of the hour, as a share of that at its half.
    pub(crate) const MEMORY_GROWTH: f64 = 1.15;
    /// 55 frames a second.
    pub(crate) const FRAME_P95_MS: f64 = 18.2;
    pub(crate) const IDLE_PERCENT: f64 = 5.0;

    pub(crate) const ACCESS: &str =
        "axe-core finds 0 serious issues in every page and theme; everything reachable by keyboard.";

    pub(crate) const FIRST_USE: &str =
        "a newcomer's script from install to first caption in <= 5 actions, written in docs/DESKTOP.md with pictures.";
    pub(crate) const ACTIONS: f64 = 5.0;

    pub(crate) const SERVER_ALONE: &str = "building the server side never needs the desktop's system libraries.";
}

/// The promises of `prove operators`.
pub(crate) mod operators {
    pub(crate) const COMPOSE: &str = "on a machine with only Docker (with the made base image where no registry is at hand): \
         `docker compose up` to first caption, each step timed; scale 1 -> 3 -> 1 under 10 live sessions with 0 utterances \
         lost; `docker compose kill stt-worker` likewise.";
    /// At once, while workers come and go.
    pub(crate) const SESSIONS: f64 = 10.0;

    pub(crate) const SEEN: &str = "every metric in the dashboards and rules exists in a live scrape; promtool check and unit \
         tests pass; the trace of one caption shows all its stages; queue depth figures equal what XINFO says, under load and \
         after kills.";
    /// Moments at which a queue is compared: under load, after a kill, and afterwards.
    pub(crate) const MOMENTS: f64 = 5.0;

    pub(crate) const COST: &str = "observability costs <= 3 % of throughput (side-by-side run).";
    pub(crate) const COST_PERCENT: f64 = 3.0;

    pub(crate) const LINT: &str = "infra lint (own test): no `latest`, no published data ports, no privileged, no secret in an \
         image or an argument, 404 catch-all in the tunnel, admin and metrics not routed.";

    pub(crate) const KEPT: &str = "backup and restore with a drill that a test runs; packages, units and manifests that are what \
         the documents say.";
}

/// The promises of `prove faults`.
pub(crate) mod faults {
    pub(crate) const KILLS: &str = ">= 10,000 utterances, >= 200 worker SIGKILLs, 3 seeds: 0 lost, 0 twice. Killed worker's \
         utterance captioned <= 5 s p95.";
    pub(crate) const UTTERANCES: f64 = 10_000.0;
    pub(crate) const WORKER_KILLS: f64 = 200.0;
    pub(crate) const KILL_CAPTION_P95_S: f64 = 5.0;

    pub(crate) const REDIS: &str = "20 Redis SIGKILL+restart under 20 sessions: 0 acknowledged audio lost, sockets stay open, \
         next caption <= 3 s after Redis answers. Sentinel failover <= 5 s, 0 sockets dropped, 10 times.";
    pub(crate) const REDIS_KILLS: f64 = 20.0;
    pub(crate) const NEXT_CAPTION_S: f64 = 3.0;
    pub(crate) const FAILOVERS: f64 = 10.0;
    pub(crate) const FAILOVER_S: f64 = 5.0;

    pub(crate) const PARTITION: &str =
        "partition of 5/30/120 s: noticed <= 45 s, resumed without a gap, <= 2 MB growth per session.";
    pub(crate) const NOTICED_S: f64 = 45.0;
    pub(crate) const GROWTH_MB: f64 = 2.0;

    pub(crate) const CONFORMANCE: &str =
        "Autobahn 0 failed. Fuzz: 60 s per target in CI, >= 10 M executions per target once, 0 crashes.";
    /// Cases of the suite without compression, which the gateway does not negotiate.
    pub(crate) const AUTOBAHN_CASES: f64 = 240.0;
    pub(crate) const FUZZ_EXECUTIONS: f64 = 10_000_000.0;

    pub(crate) const OVERLOAD: &str = "overload 3x with workers stopped: queue age bounded, new sessions refused <= 100 ms with \
         Retry-After, 0 evictions, normal p95 <= 10 s after the workers return.";
    /// Seconds that the oldest job may have waited. Bounded means: for as long as somebody may want it, which is what a session
    /// waits for a final (60 s), the resume window (120 s) and its reserve (30 s); then a second until the next look at the
    /// queues, and the two that a slow bus is given for each of the two.
    pub(crate) const QUEUE_AGE_S: f64 = 60.0 + 120.0 + 30.0 + 1.0 + 4.0;
    pub(crate) const REFUSAL_MS: f64 = 100.0;
    pub(crate) const NORMAL_AGAIN_S: f64 = 10.0;

    pub(crate) const GATEWAY: &str = "gateway: >= 2,000 live real-time sessions per core with the stub engine (VAD on), added \
         latency p99 <= 5 ms at half that load, <= 64 KB per idle and <= 256 KB per live session; 10,000 idle connections <= \
         700 MB. Say what the limit is made of.";
    pub(crate) const SESSIONS_PER_CORE: f64 = 2_000.0;
    pub(crate) const ADDED_P99_MS: f64 = 5.0;
    pub(crate) const IDLE_KB: f64 = 64.0;
    pub(crate) const LIVE_KB: f64 = 256.0;
    pub(crate) const IDLE_SESSIONS: f64 = 10_000.0;
    pub(crate) const IDLE_10000_MB: f64 = 700.0;

    pub(crate) const HOSTILE: &str = "2,000 idle connections and 200 slow writers raise what honest clients wait for by <= 10 %; \
         half-open handshakes, slow readers and frames that are too large are cut.";
    /// p95 of captions beside hostile clients, as a share of that without.
    pub(crate) const HOSTILE_RATIO: f64 = 1.10;
    /// Until the 1009.
    pub(crate) const OVERSIZE_S: f64 = 1.0;

    pub(crate) const SOAK: &str = "2 h soak, 50 sessions, a kill every minute: RSS slope < 1 MB/h after warm-up, descriptors \
         +-5, pending 0 at the end, p95 drift < 10 %.";
    pub(crate) const SLOPE_MB_H: f64 = 1.0;
    pub(crate) const DESCRIPTORS: f64 = 5.0;
    pub(crate) const DRIFT_PERCENT: f64 = 10.0;
}
