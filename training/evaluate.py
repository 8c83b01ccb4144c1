"""Measures exported checkpoints as a stranger would: Hugging Face's own classes on the f16 files.

Speech: WER of greedy decoding with the plain prompt over 10 s windows, on held-out sentences in
seen voices, unseen variants and an unseen speaker (each as spoken, and again with steady noise
15 to 35 dB under it), on open text, on human prompts and on words heard before a cut; on
silence and noise, the share of clips for which nothing is written.
Translation: chrF and BLEU against the hand-written or human Spanish.
"""
import random

import numpy as np
import torch

from . import augment, bilingual, speech_data, text_open, voices
from .features import SAMPLE_RATE, WINDOW_FRAMES, features
from .scoring import word_errors
from .tokens import SpeechTokens

SEED = 4711
MARGIN = SAMPLE_RATE * 3 // 10  # as the VAD leaves it: 300 ms before, about as much after


def with_noise(samples, rng, low=15, high=35):
    """A random steady noise at a random signal-to-noise ratio (dB), added to samples."""
    kind = rng.choice(["white", "pink", "brown", "hum", "fan"])
    noise = augment.noise_wave(kind, len(samples) / SAMPLE_RATE + 0.01, rng)[: len(samples)]
    level = np.sqrt((samples ** 2).mean()) / 10 ** (rng.uniform(low, high) / 20)
    return (samples + level * noise).astype(np.float32)


def margins(samples):
    """Near silence (-66 dB) before and after, as the VAD leaves it."""
    samples = np.pad(samples, (MARGIN, MARGIN))
    return samples + np.random.default_rng(len(samples)).standard_normal(len(samples)).astype(np.float32) * 10 ** (-66 / 20)


def domain_sentences(count):
    held = [en for en, _ in bilingual.pairs(700, SEED, held=True) if len(en.split()) <= 14]
    random.Random(SEED).shuffle(held)
    return held[:count]


def spoken_sets(count):
    """-> {set name: [(samples, text)]}, every sentence held out of training."""
    rng = np.random.default_rng(SEED)
    pick = random.Random(SEED)
    sentences = domain_sentences(count * 4)
    groups = [sentences[i::4] for i in range(4)]
    open_text = [t for t in text_open.open_sentences() if text_open.held_out(t) and len(t.split()) <= 12]
    pick.shuffle(open_text)
    espeak, flite, sets = voices.Espeak(), voices.Flite(), {}

    def seen(texts):
        said = []
        for i, text in enumerate(texts):
            if i % 2:
                samples, rate, _ = flite.say(text, pick.choice(voices.FLITE_VOICES), pick.uniform(0.9, 1.15))
            else:
                samples, rate = espeak.say(text, **voices.random_espeak_voice(pick))[0], espeak.rate
            said.append((margins(voices.change_rate(samples, rate)), text))
        return said

    sets["domain_seen_voices"] = seen(groups[0])
    sets["domain_unseen_variants"] = [
        (margins(voices.change_rate(espeak.say(t, f"en-us+{voices.HELD_OUT_VARIANTS[i % 2]}")[0], espeak.rate)), t) for i, t in enumerate(groups[1])]
    sets["domain_unseen_speaker"] = [(margins(voices.change_rate(said[0], said[1])), t)
                                     for t, said in zip(groups[2], voices.festival_batch(groups[2], voices.HELD_OUT_FESTIVAL)) if said]
    for name in ("domain_seen_voices", "domain_unseen_speaker"):
        sets[name + "_in_noise"] = [(with_noise(samples, rng), t) for samples, t in sets[name]]
    sets["open_text_seen_voices"] = seen(open_text[:count])
    sets["human_check_prompts"] = [(samples, t) for _, t, samples in speech_data.human_prompts(text_open.is_check)
                                   if len(samples) < 9.9 * SAMPLE_RATE]
    sets["domain_cut_short"] = cut_short(groups[3], espeak, flite, pick)
    return sets


def cut_short(texts, espeak, flite, pick):
    """Speech broken off 30 ms after a random inner word, as a partial of a growing utterance is."""
    clips = []
    for i, text in enumerate(texts):
        if i % 2:
            samples, rate, ends = flite.say(text, pick.choice(["slt", "rms", "awb"]))
        else:
            (samples, ends), rate = espeak.say(text, **voices.random_espeak_voice(pick)), espeak.rate
        words = text.split()
        if not ends or len(words) < 3:
            continue
        last = pick.randrange(1, len(words) - 1)
        cut = voices.change_rate(samples[: int((ends[last] + 0.03) * rate)], rate)
        clips.append((margins(cut)[: -MARGIN], " ".join(words[: last + 1]).rstrip(",")))
    return clips


def noise_clips(count):
    """-> [(kind, samples)] of silence and noises, 1-9 s, quiet to loud; none of training's draws."""
    rng, clips = np.random.default_rng(SEED + 1), []
    kinds = ["silence", "white", "pink", "brown", "hum", "fan", "tone", "clicks"]
    for i in range(count):
        kind, seconds = kinds[i % len(kinds)], rng.uniform(1, 9)
        level = 10 ** (rng.uniform(-60, -15) / 20)
        samples = np.zeros(int(seconds * SAMPLE_RATE), np.float32) if kind == "silence" else level * augment.noise_wave(kind, seconds, rng)
        clips.append((kind, np.clip(samples, -1, 1).astype(np.float32)))
    return clips


class Transcriber:
    """An exported speech checkpoint under Hugging Face's WhisperForConditionalGeneration."""

    def __init__(self, folder):
        from transformers import WhisperForConditionalGeneration
        self.model = WhisperForConditionalGeneration.from_pretrained(folder, torch_dtype=torch.float32).eval()
        self.tokens = SpeechTokens(f"{folder}/tokenizer.json")

    @torch.no_grad()
    def texts(self, clips, most=60):
        """[samples] -> ([text], [probability of <|nospeech|> after <|startoftranscript|>])."""
        texts, silent = [], []
        for at in range(0, len(clips), 16):
            mel = torch.from_numpy(np.stack([features(c, WINDOW_FRAMES).T for c in clips[at: at + 16]]))
            memory = self.model.model.encoder(mel).last_hidden_state
            ids = torch.tensor([self.tokens.prompt] * len(mel))
            done = torch.zeros(len(mel), dtype=torch.bool)
            for step in range(most):
                logits = self.model(encoder_outputs=(memory,), decoder_input_ids=ids, use_cache=False).logits
                if step == 0:
                    silent += logits[:, 0].softmax(-1)[:, self.tokens.no_speech].tolist()
                best = logits[:, -1, : self.tokens.end + 1].argmax(-1)
                best[done] = self.tokens.end
                done |= best == self.tokens.end
                ids = torch.cat([ids, best[:, None]], 1)
                if done.all():
                    break
            texts += [self.tokens.decode(row) for row in ids[:, len(self.tokens.prompt):].tolist()]
        return texts, silent


def evaluate_speech(folder, count=120, show=3):
    """-> the figures that go into evaluation.json."""
    transcriber, figures = Transcriber(folder), {"sets": {}}
    for name, clips in spoken_sets(count).items():
        heard, silent = transcriber.texts([samples for samples, _ in clips])
        errors = [word_errors(text, h) for (_, text), h in zip(clips, heard)]
        wer = 100 * sum(e for e, _ in errors) / max(1, sum(n for _, n in errors))
        figures["sets"][name] = {"clips": len(clips), "words": sum(n for _, n in errors), "wer_percent": round(wer, 1),
                                 "taken_for_silence": sum(p > 0.5 for p in silent)}
        print(f"{name}: WER {wer:.1f} % over {len(clips)} clips, {sum(p > 0.5 for p in silent)} taken for silence", flush=True)
        for (_, text), h in list(zip(clips, heard))[:show]:
            print(f"    {text}  ->  {h}")
    noises = noise_clips(count)
    heard, silent = transcriber.texts([samples for _, samples in noises])
    quiet = sum(not text_open.letters(h) for h in heard)
    figures["noise"] = {"clips": len(noises), "without_any_word_percent": round(100 * quiet / len(noises), 1),
                        "no_speech_probability_above_half_percent": round(100 * sum(p > 0.5 for p in silent) / len(noises), 1),
                        "invented": [f"{kind}: {h}" for (kind, _), h in zip(noises, heard) if text_open.letters(h)][:10]}
    print(f"noise: {figures['noise']}")
    return figures


def evaluate_translation(folder, count=400, roots=None, show=5):
    """-> the figures that go into evaluation.json."""
    import sacrebleu
    from tokenizers import Tokenizer
    from transformers import MarianMTModel

    from . import mt_train, text_pairs
    model = MarianMTModel.from_pretrained(folder, torch_dtype=torch.float32)
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    rng = random.Random(SEED)
    domain = bilingual.pairs(700, SEED, held=True)
    catalogue = [p for p in text_pairs.catalogue_pairs(roots or text_pairs.CATALOGUES) if text_open.held_out(p[0])]
    rng.shuffle(catalogue)
    sets = {"domain": domain[:count], "domain_several_sentences": [text_pairs.multi(domain, rng) for _ in range(count // 4)],
            "domain_without_final_stop": [(en.rstrip(".?!"), es) for en, es in domain[count: count + count // 4]], "catalogues": catalogue[:count]}
    figures = {"sets": {}}
    for name, pairs in sets.items():
        if not pairs:
            continue
        made = mt_train.translate(model, tokenizer, [en for en, _ in pairs])
        wanted = [es for _, es in pairs]
        figures["sets"][name] = {"sentences": len(pairs), "chrf": round(sacrebleu.corpus_chrf(made, [wanted]).score, 1),
                                 "bleu": round(sacrebleu.corpus_bleu(made, [wanted]).score, 1),
                                 "exact_percent": round(100 * sum(a == b for a, b in zip(made, wanted)) / len(pairs), 1)}
        print(name, figures["sets"][name], flush=True)
        for (en, es), m in list(zip(pairs, made))[:show]:
            print(f"    {en}  ->  {m}" + ("" if m == es else f"   [{es}]"))
    return figures
