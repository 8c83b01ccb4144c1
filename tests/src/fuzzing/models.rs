//! Files that models come in.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use inference::{directory::probe, sentencepiece::SentencePiece, whisper_vocabulary};

/// Longest text that is cut into pieces, bytes: segmentation is quadratic in some models.
const MAX_TEXT: usize = 256;

/// A text in the first line, a SentencePiece file behind it: every piece has its own number, and a text is cut into pieces that
/// there are.
pub fn sentencepiece(data: &[u8]) {
    let Some(end) = data.iter().take(MAX_TEXT).position(|byte| *byte == b'\n') else { return };
    let text = String::from_utf8_lossy(&data[..end]);
    let Ok(model) = SentencePiece::parse(&data[end + 1..]) else { return };
    let count = u32::try_from(model.piece_count()).unwrap_or(u32::MAX);
    for id in 0..count {
        let Some(piece) = model.piece(id) else { panic!("piece {id} of {count} is missing") };
        assert!(piece == "\0" || model.id(piece) == Some(id), "{piece:?} is not piece {id}");
    }
    let ids = model.encode(&text);
    assert!(ids.iter().all(|id| *id < count), "{ids:?} of {count}");
    model.decode(&ids);
    let pieces = model.pieces(&text);
    assert_eq!(pieces.len(), ids.len());
    model.decode_pieces(pieces.iter().map(|(_, piece)| piece.as_str()));
}

/// A directory for this process, in memory where the system has such a place.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let builder = |place: &Path| tempfile::Builder::new().prefix("subtide-fuzz").tempdir_in(place);
    let made = builder(memory).or_else(|_| builder(&std::env::temp_dir()));
    made.map(tempfile::TempDir::keep).unwrap_or_else(|error| panic!("no temporary directory: {error}"))
});

/// A vocabulary: a tiktoken file behind a zero byte, else a `tokenizer.json`. What can be read can cut a text.
pub fn tokenizer(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let tokenizer = if *kind == 0 {
        let Ok((tokens, tokenizer)) = whisper_vocabulary::probe_tiktoken(data) else { return };
        assert!(tokens <= data.iter().filter(|byte| **byte == b'\n').count() + 1);
        tokenizer
    } else {
        let Ok(tokenizer) = whisper_vocabulary::probe_json(data) else { return };
        tokenizer
    };
    if let Ok(encoded) = tokenizer.encode("<|endoftext|> a b", false) {
        tokenizer.decode(encoded.get_ids(), false).ok();
    }
}

/// A file of weights: the first byte says of which kind. What can be read has as many elements as its shape says.
pub fn weights(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    if *kind == 0 {
        if let Ok(read) = probe::pickle(data) {
            assert!(read <= data.len());
        }
        return;
    }
    let path = DIRECTORY.join("weights");
    if fs::write(&path, data).is_err() {
        return;
    }
    if let Ok(tensors) = probe::tensors(path, *kind == 1) {
        for (dims, elements) in tensors {
            assert_eq!(dims.iter().product::<usize>(), elements, "{dims:?}");
        }
    }
}

/// A GGUF file: what can be read has as many elements as its shape says.
pub fn gguf(data: &[u8]) {
    if let Ok(tensors) = probe::gguf(data) {
        for (dims, elements) in tensors {
            assert_eq!(dims.iter().product::<usize>(), elements, "{dims:?}");
        }
    }
}
