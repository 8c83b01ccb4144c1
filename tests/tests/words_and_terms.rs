//! What a client can ask for beyond captions: when each word was spoken, and how its terms are to be translated; with the
//! models that ship.

use std::time::Duration;

use client::Sender;
use shared::wire::{ClientMessage, GlossaryTerm, ServerMessage};
use tests::{
    session::{check, collect, start},
    speech::{demo, pcm},
    stack::in_process,
};
use tokio::time::sleep;

const BYTES_OF_MS: usize = 32;

fn term(source: &str, target: &str) -> Vec<GlossaryTerm> {
    vec![GlossaryTerm { source: source.to_owned(), target: Some(target.to_owned()) }]
}

async fn play(sender: &mut Sender, pcm: &[u8]) {
    for frame in pcm.chunks(100 * BYTES_OF_MS) {
        sender.audio(frame.to_vec()).await.unwrap_or_else(|e| panic!("{e}"));
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_have_their_times_and_terms_their_translations_also_new_ones() {
    let roles = in_process().await;

    let (wav, spoken) = demo();
    let pcm = pcm(&wav);
    // The first sentence and the pause behind it, then the second.
    let (first, rest) = pcm.split_at((spoken[0].end_ms as usize + 800) * BYTES_OF_MS);
    let second = &rest[..(spoken[1].end_ms - spoken[0].end_ms) as usize * BYTES_OF_MS];
    let mut wanted = start(&["es"]);
    (wanted.words, wanted.glossary) = (true, term("London", "Londinium"));
    let (mut sender, receiver) = client::open(&roles.url(), None, wanted).await.unwrap();
    let talk = async {
        play(&mut sender, first).await;
        let glossary = Some(term("Dublin", "Eblana"));
        sender.say(&ClientMessage::Update { source: None, targets: None, glossary }).await.unwrap();
        play(&mut sender, second).await;
        sender.say(&ClientMessage::Stop {}).await.unwrap();
    };
    let ((), events) = tokio::join!(talk, collect(receiver));
    roles.stop().await.unwrap();

    let texts = check(&events, &["es"]);
    let spanish = texts["es"].join(" ");
    assert!(spanish.contains("Londinium") && !spanish.contains("Londres"), "{spanish}");
    assert!(spanish.contains("Eblana") && !spanish.contains("Dublín"), "{spanish}");

    let mut heard = 0;
    for event in &events {
        let ServerMessage::Caption(caption) = &event.message else { continue };
        let said: Vec<&str> = caption.words.iter().map(|word| word.text.as_str()).collect();
        let shown = format!("{}{}", caption.committed, caption.tail);
        let shown: Vec<&str> = shown.split_whitespace().collect();
        assert!(said.is_empty() || said == shown, "{said:?} are not the words of {shown:?}");
        assert!(caption.words.windows(2).all(|pair| pair[0].start_ms <= pair[1].start_ms), "{caption:?}");
        assert!(caption.words.iter().all(|word| word.start_ms >= caption.start_ms), "{caption:?}");
        if caption.is_final {
            heard += said.len();
            let last = caption.words.last().unwrap();
            assert!(last.end_ms <= caption.end_ms && last.probability > 0.0, "{last:?}");
        }
    }
    assert!(heard >= 10, "{heard} words of two sentences");
}
