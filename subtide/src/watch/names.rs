//! The metrics looked at; docs/OPERATIONS.md says what each means. One that a role does not tell leaves its figure empty.

use super::samples::Series;

/// How long people wait, and for what: the key in the report, what it is called on the screen, and who tells it.
pub(super) struct Wait {
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) series: fn() -> Series,
}

fn stage(stage: &'static str) -> Series {
    Series::of("gateway_caption_seconds").with("stage", stage)
}

fn model(stage: &'static str) -> Series {
    Series::of("subtide_model_seconds").with("stage", stage)
}

/// What matters most first.
pub(super) const WAITS: [Wait; 9] = [
    Wait { key: "first", label: "first words", series: || stage("first") },
    Wait { key: "committed", label: "committed words", series: || stage("committed") },
    Wait { key: "final", label: "final caption", series: || stage("final") },
    Wait { key: "translation_final", label: "final translation", series: || stage("translation_final") },
    Wait { key: "speech_job", label: "a speech job", series: || done_seconds("audio_jobs") },
    Wait { key: "translation_job", label: "a translation job", series: || done_seconds("translation_jobs") },
    Wait { key: "encode", label: "encoding audio", series: || model("encode") },
    Wait { key: "decode", label: "decoding speech", series: || model("decode") },
    Wait { key: "translate", label: "translating", series: || model("translate") },
];

fn done_seconds(stream: &'static str) -> Series {
    Series::of("subtide_job_seconds").with("stream", stream).with("outcome", "done")
}

/// Time of jobs of all streams that were done.
pub(super) fn job_seconds() -> Series {
    Series::of("subtide_job_seconds").with("outcome", "done")
}

/// Jobs of a stream that were done.
pub(super) fn done(stream: &'static str) -> Series {
    Series::of("subtide_jobs_total").with("stream", stream).with("outcome", "done")
}

/// Jobs of all streams that were done.
pub(super) fn all_done() -> Series {
    Series::of("subtide_jobs_total").with("outcome", "done")
}

/// A metric of a stream.
pub(super) fn of_stream(name: &'static str, stream: &'static str) -> Series {
    Series::of(name).with("stream", stream)
}

/// What counts as gone wrong: the metric, the label that tells kinds apart, and the word before the kind. Kinds that are
/// nobody's fault are left out by [`is_fault`].
pub(super) const ERRORS: [(&str, &str, &str); 12] = [
    ("gateway_errors_total", "code", "session ended"),
    ("gateway_refused_total", "reason", "turned away"),
    ("gateway_expelled_total", "code", "expelled"),
    ("gateway_gaps_total", "reason", "gap"),
    ("gateway_decodes_dropped_total", "reason", "decode"),
    ("gateway_messages_dropped_total", "", "client too slow"),
    ("gateway_mailbox_missed_total", "reason", "events missed"),
    ("subtide_model_requests_total", "outcome", "model"),
    ("subtide_jobs_total", "outcome", "job"),
    ("subtide_jobs_reclaimed_total", "stream", "taken over"),
    ("subtide_jobs_dead_lettered_total", "stream", "dead letter"),
    ("subtide_jobs_lost_total", "stream", "lost"),
];

/// Whether that kind tells that something went wrong.
pub(super) fn is_fault(metric: &str, kind: &str) -> bool {
    match metric {
        "subtide_jobs_total" => ["retry", "given_up", "lease_lost"].contains(&kind),
        "gateway_decodes_dropped_total" => kind == "given_up",
        "subtide_model_requests_total" => kind == "failed",
        _ => true,
    }
}
