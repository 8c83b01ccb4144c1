"""Greedy and beam-5 texts by transformers' own `generate`, and how clear-cut each decision was.

Another implementation adds up the same numbers in another order. A text of which one choice was won by less than GAP
says nothing about it, so such inputs are left out.
"""
import torch
from transformers import GenerationConfig
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput

GAP = 3e-3  # more than the tolerance of the comparison, twice over
BEAMS = 5
TOKENS = 12


class Watch:
    """Looks over the shoulder of the beam search and keeps the narrowest margin that decides anything.

    It wraps three of the steps that `generate` is made of; what they compute stays as it is."""

    def __init__(self, model, end):
        self.model, self.end, self.margin, self.lead = model, end, float("inf"), 0.0

    def __enter__(self):
        for name in ("_get_top_k_continuations", "_update_finished_beams", "_check_early_stop_heuristic"):
            setattr(self.model, name, self.wrap(getattr(self.model, name), getattr(self, name.removeprefix("_"))))
        return self

    def __exit__(self, *_):
        for name in ("_get_top_k_continuations", "_update_finished_beams", "_check_early_stop_heuristic"):
            delattr(self.model, name)

    def wrap(self, step, look):
        def both(**inputs):
            result = step(**inputs)
            look(result, inputs)
            return result

        return both

    def narrow(self, margin):
        self.margin = min(self.margin, float(margin))

    def get_top_k_continuations(self, _result, inputs):
        """The last candidate kept against the first one dropped; an end token inside the best five or outside."""
        scores = inputs["accumulated_log_probs"][0]
        top = torch.topk(scores, 3 * BEAMS)
        is_end = top.indices % (len(scores) // BEAMS) == self.end
        going_on = top.values[~is_end]
        self.narrow(going_on[BEAMS - 1] - going_on[BEAMS])
        if is_end[BEAMS - 1] or is_end[BEAMS]:
            self.narrow(top.values[BEAMS - 1] - top.values[BEAMS])

    def update_finished_beams(self, result, _inputs):
        """The best finished text against the second: what counts is how this stands at the end."""
        self.lead = float(result[1][0, 0] - result[1][0, 1])

    def check_early_stop_heuristic(self, _result, inputs):
        """Whether the search goes on once five texts are finished."""
        if bool(inputs["is_sent_finished"].all()):
            length = (inputs["cur_len"] - inputs["decoder_prompt_len"]) ** inputs["length_penalty"]
            self.narrow(abs(inputs["running_beam_scores"][0, 0] / length - inputs["beam_scores"][0].min()))


def circles(tokens):
    """Whether our loop guard would stop here."""
    ends = lambda text: any(text[-n:] * 4 == text[-4 * n :] for n in range(1, 9) if len(text) >= 4 * n)
    return any(ends(tokens[:i]) for i in range(len(tokens) + 1))


def generate(model, encoded, prompt, rules, **settings):
    """`rules`: end, pad, never, and not_first where a first token has rules of its own."""
    config = GenerationConfig(
        do_sample=False, return_dict_in_generate=True, output_scores=True, length_penalty=1.0, early_stopping=False,
        max_new_tokens=TOKENS, eos_token_id=rules["end"], pad_token_id=rules["pad"],
        decoder_start_token_id=prompt[0], suppress_tokens=rules["never"] or None,
        begin_suppress_tokens=rules.get("not_first"), **settings,
    )
    return GenerationMixin.generate(
        model, generation_config=config,
        encoder_outputs=BaseModelOutput(**encoded),  # a copy: it is changed
        decoder_input_ids=torch.tensor([prompt]),
    )


def text_of(answer, prompt, rules):
    """The tokens after the prompt and before the end."""
    tokens = answer.sequences[0].tolist()[len(prompt) :]
    return tokens[: tokens.index(rules["end"])] if rules["end"] in tokens else tokens


def greedy(model, encoded, prompt, rules):
    answer = generate(model, encoded, prompt, rules, num_beams=1)
    tokens = text_of(answer, prompt, rules)
    logprobs = []
    for scores in answer.scores:
        top = torch.topk(scores[0], 2).values
        if float(top[0] - top[1]) < GAP:
            return None
        logprobs.append(float(torch.log_softmax(scores[0], -1).max()))
    return None if circles(tokens) else dict(tokens=tokens, avg_logprob=sum(logprobs) / len(logprobs))


def beam(model, encoded, prompt, rules):
    with Watch(model, rules["end"]) as watch:
        answer = generate(model, encoded, prompt, rules, num_beams=BEAMS)
    tokens = text_of(answer, prompt, rules)
    if min(watch.margin, watch.lead) < GAP or circles(tokens):
        return None
    return dict(tokens=tokens, score=float(answer.sequences_scores[0]))


def both(model, encoded, prompt, rules):
    """Both texts, or `None` where a choice was too close."""
    first = greedy(model, encoded, prompt, rules)
    second = first and beam(model, encoded, prompt, rules)
    return second and dict(greedy=first, beam=second)


def collect(count, attempt):
    """The first `count` clear-cut answers of `attempt(i)`, i = 0, 1, 2, …"""
    found, tried = [], 0
    if count == 0:
        return found
    while len(found) < count:
        answer = attempt(tried)
        tried += 1
        found += [answer] if answer else []
        print(f"  {len(found)} of {tried} inputs are clear-cut", end="\r", flush=True)
        assert tried < 60 * count + 60, "the weights leave too many choices open"
    lengths = [len(one["beam"]["tokens"]) for one in found]
    differ = sum(one["beam"]["tokens"] != one["greedy"]["tokens"] for one in found)
    kinds = len({tuple(one["beam"]["tokens"]) for one in found})
    print(f"  {count} of {tried} inputs; {kinds} different beam texts of {lengths} tokens, {differ} unlike greedy", flush=True)
    return found
