"""CTC recognizers (wav2vec2, HuBERT, wav2vec2-BERT, Parakeet): the action is the whole label sequence.

Sampling draws a label or the blank for every frame independently and collapses the path (repeats merged, blanks
dropped). The log-probability of a label sequence is the exact marginal over all paths that collapse to it. The encoder
runs once per clip; its G label sequences share the frame-wise log-probabilities.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import ctc_loss
from torch.nn.utils.rnn import pad_sequence

from antiphon.errors import ModelError
from antiphon.models.clip_model import FBANK, WAVEFORM, ClipInput, ClipModel, require_numbers
from antiphon.models.ctc_alignment import align_labels
from antiphon.models.ctc_beam import Labels, prefix_beam_search
from antiphon.models.draw import filtered, inverse_cdf_sample
from antiphon.models.feature_cache import FeatureCache
from antiphon.models.internals import frames_after_subsampling
from antiphon.models.limits import frames_needed, has_any
from antiphon.models.policy import Sampling
from antiphon.models.submodules import parts
from antiphon.models.word_times import Word, interpolated
from antiphon.types import Completion, Prompt, Seconds

FAMILIES: dict[str, ClipInput] = {
    "wav2vec2": WAVEFORM,
    "hubert": WAVEFORM,
    "wav2vec2-bert": FBANK,
    "parakeet_ctc": ClipInput("input_features", lambda config: True, frames=frames_after_subsampling),
}


@dataclass
class FramePrefix:
    """P clips after one encoder pass."""

    logits: Tensor
    """[P, T, V] fp32, 0 on padding frames."""
    frames: Tensor
    """[P] frames of each clip."""


class CTC(ClipModel):
    """A `Policy` over a transformers CTC model and its processor. `logprobs` is [N, 1]."""

    times_words = True

    def __init__(self, model: Any, processor: Any, block_tokens: Sequence[int] | str = "special") -> None:
        model_type = model.config.model_type
        if model_type not in FAMILIES:
            raise ModelError(
                f"model type {model_type!r} is not a supported CTC model; supported: {', '.join(sorted(FAMILIES))}"
            )
        super().__init__(model, processor, FAMILIES[model_type])
        self.feature_cache: FeatureCache | None = None
        # In eval mode the logits are the head applied directly to the encoder's last states.
        self.encoder, self.head = (model.get_submodule(parts(model)[part][0]) for part in ("audio_encoder", "head"))
        self.tokenizer = processor.tokenizer
        self.vocabulary: int = model.config.vocab_size
        self.blank: int = model.config.pad_token_id
        self.blocked = self._blocked(block_tokens).to(self.device)
        self._unsayable = self.blocked.clone()
        self._unsayable[self.blank] = True  # It stands between labels, and is none.

    def _blocked(self, block_tokens: Sequence[int] | str) -> Tensor:
        """[V] bool, True for labels that are never sampled: by default special tokens but blank and word boundary."""
        blocked = torch.zeros(self.vocabulary, dtype=torch.bool)
        if block_tokens == "special":
            # Wav2Vec2's tokenizer lists its word boundary as a special token.
            boundary = getattr(self.tokenizer, "word_delimiter_token_id", None)
            special = {i for i in self.tokenizer.all_special_ids if i < self.vocabulary} - {boundary}
            blocked[sorted(special)] = True
        else:
            blocked[[int(token) for token in block_tokens]] = True
        blocked[len(self.tokenizer) :] = True  # Padding of the vocabulary: no label has these ids.
        blocked[self.blank] = False
        return blocked

    def encode(self, prompts: Sequence[Prompt]) -> FramePrefix:
        rows: dict[int, Tensor] = {}
        for batch, logits, lengths in self._passes(prompts):
            frames = self.clip_input.frames(self.model, lengths)
            for i, clip, length in zip(batch, logits, frames.tolist(), strict=True):
                rows[i] = clip[: int(length)].float()
        clips = [rows[i] for i in range(len(prompts))]
        return FramePrefix(pad_sequence(clips, batch_first=True), torch.tensor([len(clip) for clip in clips]))

    def _batches(self, clips: Sequence[dict[str, Tensor]]) -> Iterable[list[int]]:
        return super()._batches(clips) if self.feature_cache is None else [[i] for i in range(len(clips))]

    def _logits(self, clips: Sequence[dict[str, Tensor]]) -> Tensor:
        if self.feature_cache is None:
            return super()._logits(clips)
        (states,) = self.feature_cache.get(clips[0], lambda: (self.encoder(**self._padded(clips)).last_hidden_state,))
        return self.head(states)

    def _scores(self, prefix: FramePrefix, temperature: float) -> Tensor:
        """Frame-wise log-softmax(logits / temperature) [P, T, V], blocked labels at −inf."""
        return (prefix.logits / temperature).masked_fill(self.blocked, -torch.inf).log_softmax(-1)

    def logprobs(self, prefix: FramePrefix, tokens: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
        """Log-probabilities [N, 1] of the label sequences `tokens` [N, U] with `mask` [N, U]."""
        scores = self._scores(prefix, temperature)
        return labeling_logprobs(scores, prefix.frames, tokens, mask, self.blank, self.blocked)[:, None]

    def target(self, prompt: Prompt, text: str, language: str | None) -> list[int]:
        """The labels of `text`, in the vocabulary's letter case. Raises `ModelError` for other characters."""
        candidates = [
            self.tokenizer(one, add_special_tokens=False)["input_ids"] for one in (text, text.upper(), text.lower())
        ]
        ids = min(candidates, key=lambda labels: int(self._unsayable[labels].sum()))
        if self._unsayable[ids].any():
            raise ModelError(
                f"prompt {prompt.id!r}: the text {text[:60]!r} has characters that this model has no label for; "
                "spell it in the model's alphabet"
            )
        if prompt.waveform is not None and (needed := frames_needed(ids)) > (frames := self.size(prompt)):
            raise ModelError(f"prompt {prompt.id!r}: {too_few_frames(text, needed, frames, prompt.seconds)}")
        return ids

    def targets(self, prompt: Prompt, texts: Sequence[str], language: str | None) -> list[list[int] | None]:
        never = self._unsayable.cpu().numpy()
        found: list[list[int] | None] = [None] * len(texts)
        rest = list(range(len(texts)))
        for cased in (str, str.upper, str.lower):
            if rest:
                how = {"add_special_tokens": False, "return_attention_mask": False}
                rows = self.tokenizer([cased(texts[i]) for i in rest], **how)["input_ids"]
                for i, ids, unsayable in zip(rest, rows, has_any(rows, never), strict=True):
                    found[i] = None if unsayable else ids
                rest = [i for i in rest if found[i] is None]
        return found

    def word_times(self, prompt: Prompt, completion: Completion) -> list[Word]:
        return self.align(prompt, completion.text.split())

    @torch.no_grad()
    def align(self, prompt: Prompt, words: Sequence[str]) -> list[Word]:
        """The times of `words` in the prompt's clip, by forced alignment (`align_labels`).

        Characters without a label are left out. Words without any label, or all of them if there are too few frames,
        share the time that is left.
        """
        prefix = self.encode([prompt])
        scores = self._scores(prefix, 1.0)[0].double().cpu().numpy()
        rows = [self._sayable(word) for word in words]
        boundary = getattr(self.tokenizer, "word_delimiter_token_id", None)
        labels: list[int] = []
        places: list[range] = []
        for row in rows:
            if row and labels and boundary is not None:
                labels.append(boundary)
            places.append(range(len(labels), len(labels) + len(row)))
            labels += row
        spans = align_labels(scores, labels, self.blank)
        frame = prompt.seconds / len(scores)
        times = [
            (spans[place[0]][0] * frame, spans[place[-1]][1] * frame) if spans and place else None for place in places
        ]
        return interpolated(words, times, prompt.seconds)

    def _sayable(self, word: str) -> list[int]:
        """The labels of a word, without those that the model never says."""
        spelled = (
            self.tokenizer(one, add_special_tokens=False)["input_ids"] for one in (word, word.upper(), word.lower())
        )
        return max(([i for i in ids if not self._unsayable[i]] for ids in spelled), key=len)

    @torch.no_grad()
    def sample(
        self, prefix: FramePrefix, n: int, sampling: Sampling, uniforms: np.ndarray | None = None
    ) -> list[list[Completion]]:
        """`n` label sequences for each clip. Their length is up to one label per frame: `max_new_tokens` does not limit
        it, and is only the width of `uniforms` (see `frame_uniforms`).

        Temperature 0 takes the best label of each frame, with log-probabilities at temperature 1. Filters apply to each
        frame.
        """
        greedy = sampling.temperature == 0
        if not greedy and uniforms is None:
            raise ValueError("sampling at a temperature above 0 needs `uniforms`")
        scores = self._scores(prefix, sampling.temperature or 1.0)
        drawn = scores if greedy else filtered(scores.flatten(0, 1), [sampling]).view_as(scores)
        labels: list[Labels] = []
        for p, frames in enumerate(prefix.frames.tolist()):
            clip = drawn[p, :frames]
            if uniforms is None or greedy:
                labels += [self._collapse(clip.argmax(-1).tolist())] * n
                continue
            draws = np.concatenate([frame_uniforms(row, frames) for row in uniforms[p * n : (p + 1) * n]])
            paths = inverse_cdf_sample(clip.repeat(n, 1), torch.from_numpy(draws).to(self.device))
            labels += [self._collapse(path) for path in paths.view(n, frames).tolist()]
        return self._completions(scores, prefix.frames, labels, n)

    @torch.no_grad()
    def beam(self, prefix: FramePrefix, width: int = 8) -> list[Completion]:
        """The most probable label sequence of each clip in a prefix beam search of `width` prefixes."""
        scores = self._scores(prefix, 1.0)
        frames = prefix.frames.tolist()
        best = []
        for p, length in enumerate(frames):
            found = prefix_beam_search(scores[p, :length].double().cpu().numpy(), self.blank, width)
            one = self._completions(scores[p : p + 1], prefix.frames[p : p + 1], found, len(found))[0]
            best.append(max(one, key=lambda completion: completion.logprobs[0]))
        return best

    def _collapse(self, path: Sequence[int]) -> Labels:
        return tuple(label for label, _ in groupby(path) if label != self.blank)

    def _completions(self, scores: Tensor, frames: Tensor, labels: list[Labels], n: int) -> list[list[Completion]]:
        width = max(1, *(len(row) for row in labels))
        tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in labels], device=self.device)
        lengths = torch.tensor([len(row) for row in labels], device=self.device)
        mask = torch.arange(width, device=self.device) < lengths[:, None]
        values = labeling_logprobs(scores, frames, tokens, mask, self.blank, self.blocked)
        require_numbers(values)
        completions = [
            Completion(row, (value,), self._text(row), "stop", self.version)
            for row, value in zip(labels, values.tolist(), strict=True)
        ]
        return [completions[i : i + n] for i in range(0, len(completions), n)]

    def _text(self, labels: Labels) -> str:
        return self.tokenizer.decode(list(labels), group_tokens=False, skip_special_tokens=True)


def too_few_frames(text: str, needed: int, frames: int, seconds: Seconds) -> str:
    """What is wrong with a text of so many labels for a clip of so many frames."""
    return (
        f"the text {text[:60]!r} needs {needed} frames, a label each and a blank between equal ones, but this "
        f"model makes {frames} of {seconds:.6g} s of audio; correct the text, or drop the clip"
    )


def labeling_logprobs(
    scores: Tensor, frames: Tensor, labels: Tensor, mask: Tensor, blank: int, blocked: Tensor
) -> Tensor:
    """log p [N] (fp32) of label sequences `labels` [N, U] with `mask` [N, U]; rows p·G … p·G+G−1 are of clip p.

    p is the sum over all paths that collapse to the sequence of Π_t p_t(path_t), by the forward algorithm (Graves et
    al. 2006, section 4.1) in fp64. `scores` [P, T, V] are frame-wise log-probabilities; each clip has its first
    `frames` [P]. A sequence with a `blocked` [V] label, or too long for its frames (equal neighbors need a blank
    between them), has −inf and no gradient.
    """
    group = len(labels) // len(scores)
    taken, frames = mask.bool(), frames.to(labels.device).repeat_interleave(group)
    no_label = blocked.clone()
    no_label[blank] = True
    blanks_between = ((labels[:, 1:] == labels[:, :-1]) & taken[:, 1:]).sum(-1)
    possible = (taken.sum(-1) + blanks_between <= frames) & ~(no_label[labels] & taken).any(-1)
    taken = taken & possible[:, None]

    # Only the columns that occur are repeated for the group, the blank first. Blocked ones (−inf) would make
    # ctc_loss's gradient NaN.
    used = torch.cat([labels.new_tensor([blank]), labels[taken].unique()])
    column = labels.new_zeros(scores.shape[-1]).index_copy_(0, used, torch.arange(len(used), device=labels.device))
    columns = scores[:, :, used].double().transpose(0, 1).repeat_interleave(group, 1)
    values = -ctc_loss(columns, column[labels] * taken, frames, taken.sum(-1), blank=0, reduction="none")

    # ctc_loss assumes that all classes are present and sum to one: its gradient is exp(scores) minus the posterior of
    # each label. Adding zero with the gradient exp(scores) leaves the posterior, the true gradient.
    present = torch.arange(len(columns), device=labels.device)[:, None] < frames
    mass = (columns.exp() * present[:, :, None]).sum((0, 2))
    return (values + (mass - mass.detach())).masked_fill(~possible, -torch.inf).float()


def frame_uniforms(row: np.ndarray, frames: int) -> np.ndarray:
    """One uniform a frame [frames] from a sample's `row` [max_new_tokens].

    A clip often has more frames than `max_new_tokens`. A Philox generator keyed by the BLAKE2b digest of the row's
    float64 bytes then extends the row, so the row remains the only source of randomness.
    """
    row = np.ascontiguousarray(row, dtype=np.float64)
    if frames <= len(row):
        return row[:frames]
    key = np.frombuffer(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), dtype=np.uint64)
    return np.concatenate([row, np.random.Generator(np.random.Philox(key=key)).random(frames - len(row))])
