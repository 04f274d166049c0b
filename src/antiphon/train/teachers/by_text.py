"""Teachers with other tokens than the student: log-probabilities are compared over spans of the answer's characters.

If both models emit tokens, a span is the text between two token boundaries that both share. Its log-ratio is divided
evenly over the student's tokens in it. If one model has a single log-probability for the whole answer, the answer's
log-ratio applies to all of the student's actions. Framing, such as a language tag, is never compared. For a teacher
that opens its answers with a language, that is the data's language, or else the one that the teacher detects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from antiphon.algorithms.inputs import MIN_LOGPROB
from antiphon.errors import ModelError
from antiphon.models.logits import Predictions
from antiphon.models.policy import Policy, Sampling, TokenPolicy, emits_tokens
from antiphon.train.batch import Batch, padded
from antiphon.train.score import rollout_logprobs
from antiphon.train.teachers.resample import ClipResampler
from antiphon.train.teachers.same_tokens import short_answer
from antiphon.train.teachers.spans import Reading, align, prefixes, read
from antiphon.train.teachers.teacher import Judgment
from antiphon.types import Completion, Group, Prompt, Text

LANGUAGE_TOKENS = 8
"""The most tokens that a model takes to name a language."""


@dataclass(frozen=True)
class ScoredAnswer:
    """One answer in a teacher's own tokens."""

    logprobs: Tensor
    """[T'] of its tokens, including the stop token; [1] if the teacher scores the answer as a whole."""
    reading: Reading | None
    """None if the teacher scores the answer as a whole."""


class TextTeacher:
    """A `Teacher` in this process that scores the student's answers in its own tokens; only for `loss: sampled`."""

    def __init__(self, name: str, policy: Policy, student: Policy, temperature: float, max_tokens: int) -> None:
        self.name, self.policy, self.student = name, policy, student
        self.temperature, self.max_tokens = temperature, max_tokens
        self._resampler = ClipResampler(policy.rate)
        self._names_languages = short_answer(policy, None) != short_answer(policy, "English")

    @torch.no_grad()
    def judge(self, groups: Sequence[Group], batch: Batch, sampled: bool) -> Judgment:
        resampled = self._resampler.resample(batch)
        languages = self._languages(groups, resampled)
        targets = [
            self._target(group.prompt, answer, language)
            for group, language in zip(groups, languages, strict=True)
            for answer in group.texts
        ]
        scored: list[ScoredAnswer | None] = [None] * len(targets)
        if any(target is not None for target in targets):
            logprobs = self._logprobs(resampled, targets)
            answers = [answer for group in groups for answer in group.texts]
            for row, (target, answer) in enumerate(zip(targets, answers, strict=True)):
                if target is not None:
                    scored[row] = self._scored(logprobs[row], target, answer)
        return compare(groups, batch, scored, self.student)

    def divergence(self, student: Predictions, batch: Batch, algorithm: ModuleType, settings: Any) -> Tensor:
        raise TypeError("distributions over other tokens were refused when the teacher was loaded")

    def _languages(self, groups: Sequence[Group], resampled: Batch) -> list[str | None]:
        """Each prompt's language: from the data or the request, else as the teacher detects it, if it does."""
        languages = [group.example.language or group.prompt.language for group in groups]
        unknown = [place for place, language in enumerate(languages) if language is None]
        if self._names_languages and unknown:
            part = resampled.groups(unknown)
            for portion in part.within(self.max_tokens, [self.policy.size(one) for one in part.prompts]):
                prefix = self.policy.encode([part.prompts[i] for i in portion])
                answers = self.policy.sample(prefix, 1, Sampling(0.0, LANGUAGE_TOKENS), None)
                for i, (begun,) in zip(portion, answers, strict=True):
                    answer = self.policy.render(begun, part.prompts[i])
                    languages[unknown[i]] = answer.language if isinstance(answer, Text) else None
        return languages

    def _target(self, prompt: Prompt, answer: str, language: str | None) -> list[int] | None:
        """The teacher's tokens for an answer; None if it lacks a character or the label."""
        try:
            return self.policy.target(prompt, answer, language)
        except ModelError:
            return None

    def _logprobs(self, batch: Batch, targets: Sequence[Sequence[int] | None]) -> Tensor:
        """[N, T'] of the targets, [N, 1] if the teacher scores answers as a whole."""
        tokens, token_mask = (one.to(batch.tokens.device) for one in padded([t or [] for t in targets], torch.long))
        mask = token_mask if self.policy.stepwise else torch.ones_like(token_mask[:, :1])
        nothing = torch.zeros_like(mask)
        own = Batch(batch.prompts, tokens, token_mask, mask, nothing, nothing, batch.first, batch.rows)
        return rollout_logprobs(self.policy, own, self.temperature, self.max_tokens)

    def _scored(self, logprobs: Tensor, target: Sequence[int], answer: str) -> ScoredAnswer | None:
        if not emits_tokens(self.policy):
            return ScoredAnswer(logprobs, None)
        reading = read(prefixes(self.policy.tokenizer, target[:-1]), answer, stops=True)
        return reading and ScoredAnswer(logprobs[: len(target)].clamp(min=MIN_LOGPROB), reading)


def compare(groups: Sequence[Group], batch: Batch, scored: Sequence[ScoredAnswer | None], student: Policy) -> Judgment:
    """The judgment from a teacher's scores of the N answers; None for an answer that it cannot tokenize."""
    old = batch.old_logprobs
    logprobs, aligned = old.clone(), torch.zeros_like(batch.mask)
    judged = expected = 0
    completions = [(one, answer) for g in groups for one, answer in zip(g.completions, g.texts, strict=True)]
    for row, (completion, answer) in enumerate(completions):
        theirs, own, actions = scored[row], None, len(completion.logprobs)
        if emits_tokens(student):
            own = student_reading(student, completion, answer)
        expected += actions if own is None else actions - own.start
        if theirs is None or (student.token_level and own is None):
            continue
        for begin, end, ratio in _log_ratios(old[row], own, theirs, actions):
            logprobs[row, begin:end] -= ratio
            aligned[row, begin:end] = 1
            judged += end - begin
    return Judgment(aligned, judged, expected, logprobs)


def student_reading(student: TokenPolicy, completion: Completion, answer: str) -> Reading | None:
    """Where the answer stands among the student's tokens; None if it cannot be found."""
    stops = completion.finish_reason == "stop"
    body = completion.token_ids[:-1] if stops else completion.token_ids
    return read(prefixes(student.tokenizer, body), answer, stops)


def _log_ratios(
    own_logprobs: Tensor, own: Reading | None, teacher: ScoredAnswer, actions: int
) -> list[tuple[int, int, Tensor]]:
    """(begin, end, log p_student − log p_teacher per action) for spans [begin, end) of the student's actions."""
    if own is not None and teacher.reading is not None:
        return [
            (span.student[0], span.student[1], (own_logprobs[slice(*span.student)].sum() - theirs) / count)
            for span in align(own, teacher.reading)
            if (count := span.student[1] - span.student[0])
            for theirs in [teacher.logprobs[slice(*span.teacher)].sum()]
        ]
    begin = own.start if own else 0
    theirs = teacher.logprobs[teacher.reading.start if teacher.reading else 0 :].sum()
    if not theirs.isfinite():
        return []
    return [(begin, actions, own_logprobs[begin:actions].sum() - theirs)]
