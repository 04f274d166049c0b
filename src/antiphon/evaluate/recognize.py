"""Transcribes and scores a data set: the measures of its task with an interval, and the real-time factor."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from antiphon.distributed.world import World
from antiphon.evaluate.decode import Decode
from antiphon.evaluate.metrics import measure, summarize
from antiphon.evaluate.normalizers import Normalizer, load_normalizer
from antiphon.evaluate.pieces import USUAL, Pieces, Segment
from antiphon.models.policy import Policy
from antiphon.tasks.load import Prompter
from antiphon.tasks.task import Answered, Row, Task, worst_first
from antiphon.types import Answer, Audio, Completion, Example, FinishReason, Prompt, Seconds

IN_MEMORY = 256
"""Clips held decoded at once."""


@dataclass(frozen=True)
class Transcript:
    """What the model answered to one example."""

    answer: Answer
    seconds: Seconds
    """Of the audio that was heard."""
    finish_reason: FinishReason | None
    """"length" when the token limit cut it off; None where nobody says."""
    language: str | None
    """The language that was forced, if any."""
    instruction: str = ""
    """What was asked in words."""
    token_ids: tuple[int, ...] = ()
    """Of the answer, where they are known."""
    segments: tuple[Segment, ...] = ()
    """Of a long clip, the pieces in which something was heard."""


@dataclass(frozen=True)
class Portion:
    """Transcripts made together."""

    ids: list[str]
    transcripts: list[Transcript]
    spent: Seconds
    """From waveforms in memory to texts."""


def portions(
    policy: Policy,
    decode: Decode,
    examples: Sequence[Example],
    prompt: Callable[[Example], Prompt],
    max_new_tokens: int,
    size: int = IN_MEMORY,
    longest: Seconds | None = None,
) -> Iterator[Portion]:
    """The transcripts, in order, `size` clips at a time; clips of more than `longest` seconds in pieces."""
    for chosen, prompts in _together(examples, prompt, size):
        began = time.perf_counter()
        recordings = [Pieces.of(one, longest) for one in prompts]
        pieces = [piece for recording in recordings for piece in recording.prompts]
        completions = decode(pieces, max_new_tokens) if pieces else []
        answered = iter([(policy.render(*one), one[0]) for one in zip(completions, pieces, strict=True)])
        transcripts = [_transcript(one, list(islice(answered, len(one.prompts)))) for one in recordings]
        yield Portion([example.id for example in chosen], transcripts, time.perf_counter() - began)


def _together(
    examples: Sequence[Example], prompt: Callable[[Example], Prompt], size: int
) -> Iterator[tuple[list[Example], list[Prompt]]]:
    """`size` examples at a time with their prompts; fewer where their clips are long."""
    chosen: list[Example] = []
    prompts: list[Prompt] = []
    for example in examples:
        chosen.append(example)
        prompts.append(prompt(example))
        if len(chosen) == size or sum(one.seconds for one in prompts) > size * USUAL:
            yield chosen, prompts
            chosen, prompts = [], []
    if chosen:
        yield chosen, prompts


def _transcript(recording: Pieces, answered: Sequence[tuple[Answer, Completion]]) -> Transcript:
    prompt = recording.prompt
    answer, reason, tokens, segments = recording.joined([one for one, _ in answered], [one for _, one in answered])
    return Transcript(answer, prompt.seconds, reason, prompt.language, prompt.instruction, tokens, segments)


def transcribe(
    policy: Policy,
    decode: Decode,
    examples: Sequence[Example],
    prompt: Callable[[Example], Prompt],
    max_new_tokens: int,
    on_progress: Callable[[int], None] | None = None,
    longest: Seconds | None = None,
) -> tuple[list[Transcript], Seconds]:
    """The transcripts, in order, and the time from waveforms in memory to texts; see `portions`."""
    transcripts: list[Transcript] = []
    spent = 0.0
    for portion in portions(policy, decode, examples, prompt, max_new_tokens, longest=longest):
        transcripts += portion.transcripts
        spent += portion.spent
        if on_progress:
            on_progress(len(transcripts))
    return transcripts, spent


def score(
    task: Task, examples: Sequence[Example], transcripts: Sequence[Transcript], normalizer: Normalizer
) -> tuple[dict[str, Any], list[Row]]:
    """The summary of `antiphon.evaluate.metrics.summarize` with the name of the `normalizer` and the number of rows by
    the rules that applied to them ("English", "general" …), and the rows worst first.

    An answer that is audio is in its row as `answer_audio`, an `Audio`; whoever saves the row puts a file's name there.
    """
    rows = [
        measure(task, _answered(task, example, one), normalizer.clean)
        | ({"answer_audio": one.answer} if isinstance(one.answer, Audio) else {})
        for example, one in zip(examples, transcripts, strict=True)
    ]
    rules = Counter(row["rules"] for row in rows)
    return summarize(rows, task) | {"normalizer": normalizer.name, "rules": dict(rules.most_common())}, worst_first(
        rows
    )


def _answered(task: Task, example: Example, transcript: Transcript) -> Answered:
    return Answered(
        example,
        task.read(transcript.answer),
        transcript.seconds,
        example.language or transcript.language,
        None if transcript.finish_reason is None else transcript.finish_reason == "length",
    )


def evaluate(
    policy: Policy, decode: Decode, examples: Sequence[Example], prompt: Prompter, max_new_tokens: int
) -> tuple[dict[str, Any], list[Row]]:
    """As `score_timed`, of transcripts made now."""
    return score_timed(prompt.task, examples, *transcribe(policy, decode, examples, prompt, max_new_tokens))


def score_timed(
    task: Task, examples: Sequence[Example], transcripts: Sequence[Transcript], spent: Seconds
) -> tuple[dict[str, Any], list[Row]]:
    """As `score`, under the default normalizer; the summary has `rtfx` too.

    `rtfx` is seconds of audio recognized per second of computation, reading and decoding of files left out.
    """
    summary, rows = score(task, examples, transcripts, load_normalizer())
    return summary | {"rtfx": summary["seconds"] / max(spent, 1e-9)}, rows


def transcribe_on_ranks(
    policy: Policy,
    decode: Decode,
    examples: Sequence[Example],
    prompt: Callable[[Example], Prompt],
    max_new_tokens: int,
    on_progress: Callable[[int], None] | None,
    world: World,
    longest: Seconds | None = None,
) -> tuple[list[Transcript], Seconds] | None:
    """As `transcribe`, each rank of the `world` its share: rank 0 has them all, with the slowest rank's time, and the
    others None."""
    mine = world.share(examples)
    ranks = world.gather_at_main(transcribe(policy, decode, mine, prompt, max_new_tokens, on_progress, longest))
    if ranks is None:
        return None
    return [one for rank, _ in ranks for one in rank], max(seconds for _, seconds in ranks)
