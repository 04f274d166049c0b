"""Clip classifiers (wav2vec2, HuBERT, wav2vec2-BERT, AST, Whisper's encoder): the action is the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from antiphon.errors import ModelError
from antiphon.models.clip_model import FBANK, WAVEFORM, ClipInput, ClipModel, require_numbers
from antiphon.models.draw import filtered, inverse_cdf_sample
from antiphon.models.policy import Sampling
from antiphon.types import Completion, Prompt


def _whisper_window(extractor: Any) -> int:
    return extractor.n_samples


def _ast_window(extractor: Any) -> int:
    """Kaldi's frames, 400 samples every 160, none of them cut."""
    return 400 + 160 * extractor.max_length - 1


def _whisper_frames(model: Any, lengths: Tensor) -> Tensor:
    return torch.full_like(lengths, model.config.max_source_positions)


def _ast_patches(model: Any, lengths: Tensor) -> Tensor:
    """Patches of the fixed window, whatever the clip's length."""
    embeddings = model.audio_spectrogram_transformer.embeddings
    return torch.full_like(lengths, embeddings.position_embeddings.shape[1])


FAMILIES: dict[str, ClipInput] = {
    "wav2vec2": WAVEFORM,
    "hubert": WAVEFORM,
    "wav2vec2-bert": FBANK,
    "audio-spectrogram-transformer": ClipInput("input_values", limit=_ast_window, frames=_ast_patches),
    "whisper": ClipInput("input_features", limit=_whisper_window, frames=_whisper_frames),
}


class Classifier(ClipModel):
    """A `Policy` over a transformers audio classifier and its feature extractor. `logprobs` is [N, 1]."""

    transcribes = False

    def __init__(self, model: Any, processor: Any, block_tokens: Sequence[int] | str = "special") -> None:
        """`block_tokens` are label ids that are never sampled; "special" blocks none, as labels are not special."""
        config = model.config
        if config.model_type not in FAMILIES:
            raise ModelError(
                f"model type {config.model_type!r} is not a supported classifier; "
                f"supported: {', '.join(sorted(FAMILIES))}"
            )
        if config.num_labels < 2 or config.problem_type in ("regression", "multi_label_classification"):
            raise ModelError(
                f"this classifier does not choose one label of several (num_labels {config.num_labels}, "
                f"problem_type {config.problem_type!r}); use one with a softmax over its labels"
            )
        super().__init__(model, processor, FAMILIES[config.model_type])
        self.labels: list[str] = [config.id2label[i] for i in range(config.num_labels)]
        self.blocked = torch.zeros(config.num_labels, dtype=torch.bool, device=self.device)
        if block_tokens != "special":
            self.blocked[[int(token) for token in block_tokens]] = True

    def encode(self, prompts: Sequence[Prompt]) -> Tensor:
        """Logits [P, C] (fp32), C labels."""
        rows: dict[int, Tensor] = {}
        for batch, logits, _ in self._passes(prompts):
            rows.update(zip(batch, logits.float(), strict=True))
        return torch.stack([rows[i] for i in range(len(prompts))])

    def label_logprobs(self, prefix: Tensor, temperature: float = 1.0) -> Tensor:
        """Log-probabilities [P, C] of every label."""
        return (prefix / temperature).masked_fill(self.blocked, -torch.inf).log_softmax(-1)

    def expected_reward(self, prefix: Tensor, rewards: Tensor, temperature: float = 1.0) -> Tensor:
        """E[reward] [P], exactly: Σ p(label) · reward over all labels, given their `rewards` [P, C].

        Its gradient is the policy gradient without the variance of sampling.
        """
        return (self.label_logprobs(prefix, temperature).exp() * rewards.to(prefix)).sum(-1)

    def logprobs(self, prefix: Tensor, tokens: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
        """Log-probabilities [N, 1] of the labels `tokens` [N, 1], 0 off the `mask` [N, 1]."""
        scores = self.label_logprobs(prefix, temperature).repeat_interleave(len(tokens) // len(prefix), 0)
        return scores.gather(-1, tokens).masked_fill(~mask.bool(), 0.0)

    def target(self, prompt: Prompt, text: str, language: str | None) -> list[int]:
        """The label named `text`, ignoring case. Raises `ModelError` if there is none."""
        names = [label.strip().casefold() for label in self.labels]
        if text.strip().casefold() not in names:
            raise ModelError(
                f"prompt {prompt.id!r}: {text[:60]!r} is not a label of this model; "
                f"its labels: {', '.join(self.labels)[:200]}"
            )
        return [names.index(text.strip().casefold())]

    def targets(self, prompt: Prompt, texts: Sequence[str], language: str | None) -> list[list[int] | None]:
        names = [label.strip().casefold() for label in self.labels]
        return [[names.index(name)] if (name := text.strip().casefold()) in names else None for text in texts]

    @torch.no_grad()
    def sample(
        self, prefix: Tensor, n: int, sampling: Sampling, uniforms: np.ndarray | None = None
    ) -> list[list[Completion]]:
        """`n` labels for each clip, drawn with the first column of `uniforms`. Temperature 0 takes the most probable
        label, with its log-probability at temperature 1."""
        greedy = sampling.temperature == 0
        if not greedy and uniforms is None:
            raise ValueError("sampling at a temperature above 0 needs `uniforms`")
        scores = self.label_logprobs(prefix, sampling.temperature or 1.0).repeat_interleave(n, 0)
        if uniforms is None or greedy:
            chosen = scores.argmax(-1)
        else:
            draws = np.ascontiguousarray(uniforms[:, 0])
            chosen = inverse_cdf_sample(filtered(scores, [sampling]), torch.from_numpy(draws).to(self.device))
        values = scores.gather(-1, chosen[:, None]).squeeze(-1)
        completions = self._completions(chosen, values)
        return [completions[i : i + n] for i in range(0, len(completions), n)]

    @torch.no_grad()
    def every_label(self, prefix: Tensor, temperature: float = 1.0) -> list[list[Completion]]:
        """Every label that is not blocked, in the model's order, as a completion for each clip."""
        allowed = (~self.blocked).nonzero().squeeze(-1)
        return [self._completions(allowed, row[allowed]) for row in self.label_logprobs(prefix, temperature)]

    def _completions(self, labels: Tensor, logprobs: Tensor) -> list[Completion]:
        require_numbers(logprobs)
        return [
            Completion((label,), (value,), self.labels[label], "stop", self.version)
            for label, value in zip(labels.tolist(), logprobs.tolist(), strict=True)
        ]
