"""The two tokenizers: byte-level BPE with Whisper's special tokens, and one joint BPE for Marian."""
import os

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

BPE_TOKENS = 1024
LAST_TIMESTAMP = 500  # x 20 ms = 10 s, the model's window
WHISPER_SPECIALS = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|es|>", "<|translate|>", "<|transcribe|>",
                    "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
MARIAN_TOKENS = 6000
MARIAN_SPECIALS = ["</s>", "<unk>", "<pad>"]


def train_speech_tokenizer(texts, path):
    """BPE ids first, then the specials, then the timestamps directly after <|notimestamps|>."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=BPE_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator((" " + text for text in texts), trainer)
    if tokenizer.get_vocab_size() < BPE_TOKENS:  # a small corpus; keep the ids where the config expects them
        tokenizer.add_tokens([f"<|unused{i}|>" for i in range(BPE_TOKENS - tokenizer.get_vocab_size())])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in WHISPER_SPECIALS])
    tokenizer.add_tokens([AddedToken(f"<|{i * 0.02:.2f}|>", special=False, normalized=False) for i in range(LAST_TIMESTAMP + 1)])
    save(tokenizer, path)
    return tokenizer


def train_marian_tokenizer(texts, path, size=MARIAN_TOKENS):
    """One vocabulary for both languages; </s> 0, <unk> 1, <pad> 2."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=MARIAN_SPECIALS, show_progress=False, max_token_length=16))
    save(tokenizer, path)
    return tokenizer


def save(tokenizer, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tokenizer.save(path)


class SpeechTokens:
    """A speech tokenizer with the ids that training and evaluation need."""

    def __init__(self, path):
        self.tokenizer = Tokenizer.from_file(path)
        ids = {name: self.tokenizer.token_to_id(f"<|{name}|>") for name in
               ("endoftext", "startoftranscript", "en", "transcribe", "nospeech", "notimestamps", "0.00")}
        self.end, self.start, self.english = ids["endoftext"], ids["startoftranscript"], ids["en"]
        self.transcribe, self.no_speech, self.no_timestamps = ids["transcribe"], ids["nospeech"], ids["notimestamps"]
        self.first_timestamp = ids["0.00"]
        self.prompt = [self.start, self.english, self.transcribe, self.no_timestamps]
        self.size = self.tokenizer.get_vocab_size()

    def encode(self, text):
        """Text with Whisper's leading blank -> ids; the empty text has none."""
        return self.tokenizer.encode(" " + text, add_special_tokens=False).ids if text else []

    def decode(self, ids):
        return self.tokenizer.decode([i for i in ids if i < self.end]).strip()

    def timestamp(self, frame):
        """Frame (10 ms) -> timestamp id (20 ms)."""
        return self.first_timestamp + min(round(frame / 2), LAST_TIMESTAMP)
