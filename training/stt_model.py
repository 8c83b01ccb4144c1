"""A Whisper in plain torch whose parameters carry Hugging Face's names, lean enough for a CPU.

Unlike Hugging Face's it takes mel of any even length, has no dropout (augmentation does that
work) and carries a character head on the encoder for the auxiliary CTC loss.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SIZE = dict(d_model=192, encoder_layers=4, decoder_layers=2, heads=3, ffn=768)
SOURCE_POSITIONS, TARGET_POSITIONS, MELS = 500, 128, 80
CTC_LETTERS = "abcdefghijklmnopqrstuvwxyz' "  # class 0 is the blank


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj = nn.Linear(d, d, bias=False), nn.Linear(d, d)
        self.q_proj, self.out_proj = nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x, memory=None, causal=False):
        split = lambda t: t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        memory = x if memory is None else memory
        q, k, v = split(self.q_proj(x)), split(self.k_proj(memory)), split(self.v_proj(memory))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # plain: torch's fused kernel is slow backwards on a CPU
        if causal:
            scores = scores + torch.full(scores.shape[-2:], float("-inf"), dtype=scores.dtype).triu(1)
        y = scores.softmax(-1, dtype=scores.dtype) @ v
        return self.out_proj(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, d, heads, ffn, cross):
        super().__init__()
        self.self_attn, self.self_attn_layer_norm = Attention(d, heads), nn.LayerNorm(d)
        if cross:
            self.encoder_attn, self.encoder_attn_layer_norm = Attention(d, heads), nn.LayerNorm(d)
        self.fc1, self.fc2, self.final_layer_norm = nn.Linear(d, ffn), nn.Linear(ffn, d), nn.LayerNorm(d)
        self.cross = cross

    def forward(self, x, memory=None):
        x = x + self.self_attn(self.self_attn_layer_norm(x), causal=self.cross)
        if self.cross:
            x = x + self.encoder_attn(self.encoder_attn_layer_norm(x), memory)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


def sinusoids(length, d):
    step = math.log(10_000) / (d // 2 - 1)
    angle = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(d // 2))[None]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Encoder(nn.Module):
    def __init__(self, d, layers, heads, ffn):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(MELS, d, 3, padding=1), nn.Conv1d(d, d, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(SOURCE_POSITIONS, d)
        self.layers = nn.ModuleList(Layer(d, heads, ffn, cross=False) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(d)

    def forward(self, mel):
        """[batch, 80, frames] -> [batch, frames / 2, d]."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)


class Decoder(nn.Module):
    def __init__(self, vocabulary, d, layers, heads, ffn):
        super().__init__()
        self.embed_tokens, self.embed_positions = nn.Embedding(vocabulary, d), nn.Embedding(TARGET_POSITIONS, d)
        self.layers = nn.ModuleList(Layer(d, heads, ffn, cross=True) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(d)

    def forward(self, ids, memory):
        """[batch, tokens], [batch, positions, d] -> [batch, tokens, vocabulary]."""
        x = self.embed_tokens(ids) + self.embed_positions.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, memory)
        return F.linear(self.layer_norm(x), self.embed_tokens.weight)


class Speech(nn.Module):
    def __init__(self, vocabulary, d_model, encoder_layers, decoder_layers, heads, ffn):
        super().__init__()
        self.model = nn.ModuleDict({"encoder": Encoder(d_model, encoder_layers, heads, ffn),
                                    "decoder": Decoder(vocabulary, d_model, decoder_layers, heads, ffn)})
        self.ctc = nn.Linear(d_model, len(CTC_LETTERS) + 1)
        self.apply(self._init)
        self._wake_conv_stem()

    @staticmethod
    def _init(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02 if isinstance(module, nn.Embedding) else module.weight.shape[1] ** -0.5 * 0.6)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)

    @torch.no_grad()
    def _wake_conv_stem(self):
        """The usual init leaves the stem's output far below the positions' 0.7; bring it to std 1 so speech is seen."""
        encoder = self.model["encoder"]
        encoder.embed_positions.weight.copy_(sinusoids(*encoder.embed_positions.weight.shape))
        encoder.embed_positions.weight.requires_grad_(False)
        nn.init.normal_(encoder.conv1.weight, std=math.sqrt(2 / (3 * MELS)))
        nn.init.normal_(encoder.conv2.weight, std=math.sqrt(2 / (3 * encoder.conv2.weight.shape[1])))
        probe = torch.randn(4, MELS, 200, generator=torch.Generator().manual_seed(0)) * 0.5
        encoder.conv2.weight.div_(F.gelu(encoder.conv2(F.gelu(encoder.conv1(probe)))).std())

    def forward(self, mel, ids):
        """-> (decoder logits, CTC logits [batch, positions, letters + 1])."""
        memory = self.model["encoder"](mel)
        return self.model["decoder"](ids, memory), self.ctc(memory)

    @torch.no_grad()
    def greedy(self, mel, prompt, end, most=100):
        """Greedy ids after the prompt for a batch, ids above `end` suppressed; stops when all have ended."""
        memory = self.model["encoder"](mel)
        ids = torch.tensor([prompt] * len(mel))
        done = torch.zeros(len(mel), dtype=torch.bool)
        for _ in range(min(most, TARGET_POSITIONS - len(prompt))):
            best = self.model["decoder"](ids, memory)[:, -1, : end + 1].argmax(-1)
            best[done] = end
            done |= best == end
            ids = torch.cat([ids, best[:, None]], 1)
            if done.all():
                break
        return ids[:, len(prompt):].tolist()
