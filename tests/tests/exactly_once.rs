//! Every final exactly once and in order, on the speech that ships, heard and translated by the models that ship.

use std::process::Stdio;

use shared::wire::Event;
use tests::{
    session::{check, start, stream},
    speech::{demo, pcm, word_error_rate},
    stack::{Stack, command},
};

/// Far above what the models do on this recording (see their cards), far below what text by chance would give.
const MAX_WER: f64 = 0.35;

fn assert_heard(texts: &[String]) {
    let (_, spoken) = demo();
    let reference: Vec<&str> = spoken.iter().map(|s| s.text.as_str()).collect();
    let wer = word_error_rate(&reference.join(" "), &texts.join(" "));
    assert!(wer <= MAX_WER, "WER {wer:.2}: {texts:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn caption_of_a_file_gives_every_final_once_and_in_order() {
    let (wav, _) = demo();
    let output = tokio::task::spawn_blocking(move || {
        let caption =
            command("subtide").arg("caption").arg(wav).args(["--from", "en", "--to", "es", "--json"]).output();
        caption.unwrap()
    })
    .await
    .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Event> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts = check(&events, &["es"]);
    assert_heard(&texts["caption"]);
    assert!(texts["es"].iter().all(|text| !text.is_empty()), "{texts:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_streams_at_once_on_redis_each_get_their_own_finals() {
    let stack = Stack::spawn(2, 1).await;
    let (wav, _) = demo();
    let pcm = pcm(&wav);
    let url = stack.url();
    let sessions = (0..3).map(|_| stream(&url, start(&["es"]), &pcm, 2.0));
    for events in futures_util::future::join_all(sessions).await {
        let texts = check(&events, &["es"]);
        assert_heard(&texts["caption"]);
    }
}

#[test]
fn caption_reads_standard_input() {
    let (wav, _) = demo();
    let mut caption = command("subtide");
    caption.args(["caption", "-", "--from", "en", "--json"]).stdin(std::fs::File::open(wav).unwrap());
    let output = caption.stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Event> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_heard(&check(&events, &[])["caption"]);
}
