"""A small policy that answers in frames: K codebook ids a position, whose log-probability is the sum of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from antiphon.errors import ModelError
from antiphon.models.ctc import frame_uniforms
from antiphon.models.draw import inverse_cdf_sample
from antiphon.models.limits import Limits
from antiphon.models.policy import Chat, Sampling
from antiphon.types import Audio, Completion, FinishReason, Prompt

BANDS = 8


class Frames(nn.Module):
    """The next frame's K distributions, from the clip's loudness over time and the frame before."""

    def __init__(self, codebooks: int, size: int, width: int = 32) -> None:
        super().__init__()
        self.clip = nn.Linear(BANDS, width)
        self.before = nn.ModuleList(nn.Embedding(size, width) for _ in range(codebooks))
        self.heads = nn.ModuleList(nn.Linear(width, size) for _ in range(codebooks))

    def forward(self, clip: Tensor, before: Tensor) -> Tensor:
        """Logits [N, T, K, V] of a clip's state [N, D] and the frames before [N, T, K]; ids of −1 before the first."""
        read = [table(before[..., k].clamp(min=0)) for k, table in enumerate(self.before)]
        state = torch.tanh(clip[:, None] + sum(read) * (before[..., :1] >= 0))
        return torch.stack([head(state) for head in self.heads], -2)


class FramePolicy:
    """A `Policy` of `codebooks` ids a position; a frame whose first id is 0 is the last."""

    token_level, stepwise, transcribes = False, True, False
    language = None
    chat: Chat = None
    reads = frozenset()

    def __init__(self, codebooks: int = 3, size: int = 8, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model: Any = Frames(codebooks, size).eval()
        self.codebooks, self.device, self.version = codebooks, torch.device("cpu"), 0

    @property
    def rate(self) -> int:
        return 16000

    @property
    def limits(self) -> Limits:
        return Limits()

    def taken(self, prompt: Prompt) -> int:
        return 0

    def size(self, prompt: Prompt) -> int:
        return 1

    def encode(self, prompts: Sequence[Prompt]) -> Tensor:
        waves = [np.array_split(np.abs(prompt.waveform), BANDS) for prompt in prompts]
        loudness = torch.tensor([[float(band.mean()) for band in wave] for wave in waves])
        return self.model.clip(10 * loudness)

    def _scores(self, clips: Tensor, before: Tensor, temperature: float) -> Tensor:
        return (self.model(clips, before) / temperature).log_softmax(-1)

    def logprobs(self, prefix: Tensor, tokens: Tensor, mask: Tensor, temperature: float) -> Tensor:
        clips = prefix.repeat_interleave(len(tokens) // len(prefix), 0)
        before = torch.cat([torch.full_like(tokens[:, :1], -1), tokens[:, :-1]], 1)
        chosen = self._scores(clips, before, temperature).gather(-1, tokens[..., None]).squeeze(-1)
        return chosen.sum(-1) * mask

    @torch.no_grad()
    def sample(self, prefix: Tensor, n: int, sampling: Sampling, uniforms: np.ndarray | None) -> list[list[Completion]]:
        rows = [self._draw(prefix[[i // n]], sampling, uniforms, i) for i in range(n * len(prefix))]
        return [rows[i : i + n] for i in range(0, len(rows), n)]

    def _draw(self, clip: Tensor, sampling: Sampling, uniforms: np.ndarray | None, row: int) -> Completion:
        ids: list[int] = []
        logprobs: list[float] = []
        before, longest = torch.full((1, 1, self.codebooks), -1), sampling.max_new_tokens
        draws = None
        if uniforms is not None:
            draws = torch.from_numpy(frame_uniforms(uniforms[row], longest * self.codebooks)).view(longest, -1)
        for place in range(longest):
            scores = self._scores(clip, before, sampling.temperature or 1.0)[0, 0]
            chosen = scores.argmax(-1) if draws is None else inverse_cdf_sample(scores, draws[place])
            ids += chosen.tolist()
            logprobs.append(float(scores.gather(-1, chosen[:, None]).sum()))
            if chosen[0] == 0:
                return self._completion(ids, logprobs, "stop")
            before = chosen[None, None]
        return self._completion(ids, logprobs, "length")

    def _completion(self, ids: list[int], logprobs: list[float], reason: FinishReason) -> Completion:
        return Completion(tuple(ids), tuple(logprobs), "", reason, self.version, self.codebooks)

    def target(self, prompt: Prompt, text: str, language: str | None) -> list[int]:
        raise ModelError(f"prompt {prompt.id!r}: this model says no texts")

    def render(self, completion: Completion, prompt: Prompt | None = None) -> Audio:
        """The ids one after the other as samples; what they sound like does not matter here."""
        return Audio(np.array(completion.token_ids, np.float32) / 8, 8000)

    def render_begun(self, text: str, prompt: Prompt | None) -> str:
        return text

    def save(self, folder: Path) -> None:
        save_file(self.model.state_dict(), folder / "frames.safetensors")

    @classmethod
    def load(cls, folder: Path) -> FramePolicy:
        policy = cls(seed=1)
        policy.model.load_state_dict(load_file(folder / "frames.safetensors"))
        return policy
