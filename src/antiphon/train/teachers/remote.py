"""A teacher behind HTTP. It scores the text of the student's answer in its own tokens, with the most probable tokens.

If it has the student's vocabulary, distributions are compared at the tokens that both models cut alike, with the same
id. Otherwise the sampled answers are compared by text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from antiphon.algorithms.inputs import MIN_LOGPROB
from antiphon.models.logits import Predictions
from antiphon.train.batch import Batch
from antiphon.train.teachers.by_text import ScoredAnswer, compare, student_reading
from antiphon.train.teachers.server import Place, Question, Server
from antiphon.train.teachers.spans import Reading, align, prefixes, read
from antiphon.train.teachers.teacher import Judgment
from antiphon.types import Completion, Group, Text


class RemoteTeacher:
    """A `Teacher` on a `Server`. Tokens that the student blocks are removed from its distributions."""

    def __init__(self, server: Server, student: Any, distributions: bool) -> None:
        """`distributions`: whether a loss compares distributions."""
        self.name = server.url
        self.server, self.student, self.distributions = server, student, distributions
        # As lists, for fast lookups of single ids.
        self._blocking = student.blocking.tolist() if student.token_level else []
        self._aligned = torch.empty(0)
        self._ids = torch.empty(0)
        self._logprobs = torch.empty(0)
        """[N, A, K] of the last judged step, as `divergence_from_top` takes them."""

    def judge(self, groups: Sequence[Group], batch: Batch, sampled: bool) -> Judgment:
        completions = [(group.prompt, one) for group in groups for one in group.completions]
        questions = [Question(p.unaugmented(), one.text, one.finish_reason == "stop") for p, one in completions]
        responses = self.server.ask(questions)
        found = [self._find(places, one) for places, (_, one) in zip(responses, completions, strict=True)]
        if not sampled:
            return self._hold(batch, [one for _, one in completions], found)
        # The answer is compared with its framing, because the server is sent it whole.
        framed = [replace(one, answers=[Text(c.text.strip()) for c in one.completions]) for one in groups]
        scored = [ScoredAnswer(torch.tensor([p.logprob for p in one[1]]), one[0]) if one else None for one in found]
        by_text = compare(framed, batch, scored, self.student)
        if not self.distributions:
            return by_text
        return replace(self._hold(batch, [one for _, one in completions], found), logprobs=by_text.logprobs)

    def divergence(self, student: Predictions, batch: Batch, algorithm: ModuleType, settings: Any) -> Tensor:
        taken = batch.token_mask.bool()
        held = (one[batch.rows, : taken.shape[1]][taken] for one in (self._aligned, self._ids, self._logprobs))

        def compared(mine: Tensor, aligned: Tensor, ids: Tensor, logprobs: Tensor) -> Tensor:
            return algorithm.divergence_from_top(mine, ids, logprobs, settings) * aligned[:, None]

        return student.map(compared, *held)

    def _find(self, places: Sequence[Place], completion: Completion) -> tuple[Reading, list[Place]] | None:
        """The served tokens up to the answer's stop token, with their boundaries; None if the answer is not found.

        Tokens are decoded with the student's tokenizer; if that fails, the server's text of each token is used.
        """
        said, ended = completion.text.strip(), completion.finish_reason == "stop"
        for ours in (True, False) if self.student.token_level else (False,):
            texts = prefixes(self.student.tokenizer, [one.token for one in places]) if ours else _joined(places)
            for end in range(len(places) - ended, -1, -1):
                closed = not ended or (places[end].token in self.student.stop_ids if ours else said != "")
                reading = read(texts[: end + 1], said, ended) if closed else None
                if reading is not None:
                    kept = list(places[: end + ended])
                    return reading, self._allowed(kept, reading.start) if ours else kept
        return None

    def _allowed(self, places: Sequence[Place], start: int) -> list[Place]:
        """The served distributions, renormalized over tokens that the student may sample; `start` opens its answer."""
        allowed = []
        for place, one in enumerate(places):
            blocked = self._blocking[place == start]
            top = {i: value for i, value in one.top.items() if i < len(blocked) and not blocked[i]}
            lost = sum(math.exp(value) for i, value in one.top.items() if i not in top)
            scale = math.log1p(-min(lost, 1 - 1e-12))
            said = max(top.get(one.token, -math.inf) - scale, MIN_LOGPROB)
            allowed.append(Place(one.token, one.text, said, {i: value - scale for i, value in top.items()}))
        return allowed

    def _hold(self, batch: Batch, completions: Sequence[Completion], found: Sequence[Any]) -> Judgment:
        """Keep the served distributions of tokens that match the student's, for `divergence`."""
        width = self.server.config.top_k + 1
        aligned, expected = torch.zeros_like(batch.mask), 0
        ids = torch.zeros(*batch.mask.shape, width, dtype=torch.long)
        logprobs = torch.full(ids.shape, -math.inf)
        for row, completion in enumerate(completions):
            own = student_reading(self.student, completion, completion.text.strip())
            expected += len(completion.token_ids) - (own.start if own else 0)
            if own is None or found[row] is None:
                continue
            reading, places = found[row]
            for (begin, end), (first, last) in align(own, reading):
                alike = end - begin == last - first == 1 and completion.token_ids[begin] == places[first].token
                top = sorted(places[first].top.items(), key=lambda one: -one[1])[:width]
                if alike and top:
                    aligned[row, begin] = 1
                    ids[row, begin] = top[0][0]
                    ids[row, begin, : len(top)] = torch.tensor([i for i, _ in top])
                    logprobs[row, begin, : len(top)] = torch.tensor([value for _, value in top])
        device = batch.tokens.device
        self._aligned, self._ids, self._logprobs = aligned, ids.to(device), logprobs.to(device)
        return Judgment(aligned, float(aligned.sum()), expected)


def _joined(places: Sequence[Place]) -> list[str]:
    """The text of the first 0, 1, … tokens, from the server's text of each."""
    texts = [""]
    for place in places:
        texts.append(texts[-1] + place.text)
    return texts
