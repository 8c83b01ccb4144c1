"""Puts measured figures into the model cards, between `<!-- figures -->` and `<!-- end of figures -->`."""
import os

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
SPEECH_SETS = {
    "domain_seen_voices": "domain sentences, voices heard in training (goal ≤ 10)",
    "domain_seen_voices_in_noise": "the same with steady noise 15-35 dB under the speech",
    "domain_unseen_variants": "domain sentences, espeak-ng variants f4 and m5, never trained on",
    "domain_unseen_speaker": "domain sentences, festival's ked, a speaker never trained on (goal ≤ 20)",
    "domain_unseen_speaker_in_noise": "the same with steady noise 15-35 dB under the speech",
    "domain_cut_short": "domain sentences broken off after a random word",
    "open_text_seen_voices": "WordNet and fortunes, sentences never trained on",
    "human_check_prompts": "recorded human prompts vm-* and queue-*, never trained on (stretch goal ≤ 50)",
}
TEXT_SETS = {
    "domain": "domain sentences (goal chrF ≥ 70)",
    "domain_without_final_stop": "the same kind, without the final stop",
    "domain_several_sentences": "two or three domain sentences at once",
    "catalogues": "message catalogues, out of domain",
}


def speech_table(figures):
    lines = ["| held-out set | clips | words | WER % |", "| --- | --- | --- | --- |"]
    for name, words in SPEECH_SETS.items():
        if name in figures["sets"]:
            row = figures["sets"][name]
            lines.append(f"| {words} | {row['clips']} | {row['words']} | {row['wer_percent']} |")
    noise = figures["noise"]
    lines += ["", f"Silence, white, pink and brown noise, hum, fan, tones, clicks ({noise['clips']} clips): not one word written on "
              f"{noise['without_any_word_percent']} % (goal ≥ 95); `<|nospeech|>` above one half on {noise['no_speech_probability_above_half_percent']} %."]
    return lines


def text_table(figures):
    lines = ["| held-out set | sentences | chrF | BLEU | exactly equal % |", "| --- | --- | --- | --- | --- |"]
    for name, words in TEXT_SETS.items():
        if name in figures["sets"]:
            row = figures["sets"][name]
            lines.append(f"| {words} | {row['sentences']} | {row['chrf']} | {row['bleu']} | {row['exact_percent']} |")
    return lines


def between(path, begin, end, lines):
    """Replaces what stands between two markers of a file, where it has them."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        card = file.read()
    if begin not in card:
        return
    before, rest = card.split(begin)
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end)[1])


def update(folder, figures):
    """Rewrites the figures of the card in `folder`, where it has the markers."""
    between(os.path.join(folder, "README.md"), BEGIN, END, speech_table(figures) if "noise" in figures else text_table(figures))
