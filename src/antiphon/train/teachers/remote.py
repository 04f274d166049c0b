"""A teacher behind HTTP. It reads the student's answer as text, in its own tokens, and tells its most probable tokens.

Its distributions are over the student's tokens where its tokens are the student's: they are compared at the tokens
that both sides cut the answer into alike, id for id. Otherwise the comparison is by text, of what was sampled.
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
from antiphon.types import Completion, Group


class RemoteTeacher:
    """A `Teacher` on a `Server`. Tokens that the student may not say are taken out of what it tells."""

    def __init__(self, server: Server, student: Any, distributions: bool) -> None:
        """`distributions` says whether they are what will be compared, be it beside what was sampled."""
        self.name = server.url
        self.server, self.student, self.distributions = server, student, distributions
        # As lists: they are looked up number by number.
        self._blocking = student.blocking.tolist() if student.token_level else []
        self._aligned = torch.empty(0)
        self._ids = torch.empty(0)
        self._logprobs = torch.empty(0)
        """[N, A, K] of the step judged last, as `divergence_from_top` wants them."""

    def judge(self, groups: Sequence[Group], batch: Batch, sampled: bool) -> Judgment:
        completions = [(group.prompt, one) for group in groups for one in group.completions]
        questions = [Question(p, one.text, one.finish_reason == "stop") for p, one in completions]
        heard = self.server.ask(questions)
        spoken = [self._spoken(places, one) for places, (_, one) in zip(heard, completions, strict=True)]
        if not sampled:
            return self._hold(batch, [one for _, one in completions], spoken)
        # The answer is compared as it was said, framing and all: the server is sent no other.
        texts = [[one.text.strip() for one in group.completions] for group in groups]
        as_said = [replace(group, answers=of_group) for group, of_group in zip(groups, texts, strict=True)]
        said = [ScoredAnswer(torch.tensor([p.logprob for p in one[1]]), one[0]) if one else None for one in spoken]
        by_text = compare(as_said, batch, said, self.student)
        if not self.distributions:
            return by_text
        return replace(self._hold(batch, [one for _, one in completions], spoken), logprobs=by_text.logprobs)

    def divergence(self, student: Predictions, batch: Batch, algorithm: ModuleType, settings: Any) -> Tensor:
        taken = batch.token_mask.bool()
        held = (one[batch.rows, : taken.shape[1]][taken] for one in (self._aligned, self._ids, self._logprobs))

        def compared(mine: Tensor, aligned: Tensor, ids: Tensor, logprobs: Tensor) -> Tensor:
            return algorithm.divergence_from_top(mine, ids, logprobs, settings) * aligned[:, None]

        return student.map(compared, *held)

    def _spoken(self, places: Sequence[Place], completion: Completion) -> tuple[Reading, list[Place]] | None:
        """The served tokens up to the answer's end, its stop token last, and where they are cut; None if not found.

        They are read as tokens of the student's, else as the text that the server writes beside each.
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
        """What the model expected of the tokens that the student may say there; its answer begins at `start`."""
        allowed = []
        for place, one in enumerate(places):
            blocked = self._blocking[place == start]
            top = {i: value for i, value in one.top.items() if i < len(blocked) and not blocked[i]}
            lost = sum(math.exp(value) for i, value in one.top.items() if i not in top)
            scale = math.log1p(-min(lost, 1 - 1e-12))
            said = max(top.get(one.token, -math.inf) - scale, MIN_LOGPROB)
            allowed.append(Place(one.token, one.text, said, {i: value - scale for i, value in top.items()}))
        return allowed

    def _hold(self, batch: Batch, completions: Sequence[Completion], spoken: Sequence[Any]) -> Judgment:
        """Keep what was told of the tokens that are the student's, for `divergence`."""
        width = self.server.config.top_k + 1
        aligned, expected = torch.zeros_like(batch.mask), 0
        ids = torch.zeros(*batch.mask.shape, width, dtype=torch.long)
        logprobs = torch.full(ids.shape, -math.inf)
        for row, completion in enumerate(completions):
            own = student_reading(self.student, completion, completion.text.strip())
            expected += len(completion.token_ids) - (own.start if own else 0)
            if own is None or spoken[row] is None:
                continue
            reading, places = spoken[row]
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
    """The text of the first 0, 1, … tokens, as the server writes them."""
    texts = [""]
    for place in places:
        texts.append(texts[-1] + place.text)
    return texts
