"""Parts of the server by themselves: stops, subtitles, the budget that uploads share, the list of servers."""

import asyncio
import fcntl
import io
import itertools
import json
import os
import threading
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import soundfile
from fastapi import HTTPException

from antiphon.errors import ConfigError
from antiphon.models.decoding import Row
from antiphon.models.policy import Sampling
from antiphon.models.word_times import Word
from antiphon.serve import process
from antiphon.serve.budget import Budget
from antiphon.serve.job import Job
from antiphon.serve.limits import Limits
from antiphon.serve.question import Question
from antiphon.serve.stops import cut
from antiphon.serve.upload import Uploads
from antiphon.text.thoughts import settled, split
from antiphon.types import Completion, Prompt


@pytest.mark.parametrize(
    ("text", "stops", "before"),
    [
        ("one two three", ["two"], "one "),
        ("one two three", ["three", "two"], "one "),
        ("one two three", ["one"], ""),
        ("one two three", ["four"], None),
        ("one two three", [], None),
        ("aab", ["ab"], "a"),
    ],
)
def test_an_answer_is_cut_before_the_first_stop(text, stops, before):
    assert cut(text, stops) == ((text, False) if before is None else (before, True))


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("one tw", "one "),
        ("one ", "one "),
        ("one t", "one "),
        ("one two", "one two"),
        ("one \ufffd", "one "),
        ("t", ""),
    ],
)
def test_what_may_become_a_stop_is_held_back(text, sure):
    assert settled(text, ["two"]) == sure


def test_of_several_stops_that_have_begun_the_longest_is_held_back():
    assert settled("say ##", ["#!", "###"]) == "say "


def test_parts_of_a_thought_only_grow():
    text = "<think>Let me see.</think>Yes."
    parts = [split(text[:end], thinks=False, ended=False) for end in range(len(text) + 1)]
    for before, after in itertools.pairwise(parts):
        assert all(new.startswith(old) for old, new in zip(before, after, strict=True))
    assert split(text, thinks=False) == ("Let me see.", "Yes.")


def test_those_over_the_budget_wait_in_order():
    entered = []

    async def visit(budget: Budget, name: str, amount: float, leaving: asyncio.Event) -> None:
        async with budget.take(amount):
            entered.append(name)
            await leaving.wait()

    async def scene() -> None:
        budget, doors = Budget(10), [asyncio.Event() for _ in range(4)]
        visits = [
            asyncio.create_task(visit(budget, name, amount, door))
            for name, amount, door in zip("abcd", (6, 6, 1, 99), doors, strict=True)
        ]
        await asyncio.sleep(0)
        assert entered == ["a"]  # c would fit, but b came before.
        doors[0].set()
        await asyncio.gather(visits[0])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert entered == ["a", "b", "c"]
        visits[1].cancel()
        doors[2].set()
        await asyncio.wait(visits[1:3])
        await asyncio.sleep(0)
        assert entered == ["a", "b", "c", "d"]  # Larger than all there is, and alone.
        doors[3].set()
        await visits[3]
        assert budget.taken == 0

    asyncio.run(scene())


def recording(seconds: float, channels: int = 1, form: str = "FLAC") -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((round(seconds * 16000), channels), np.float32), 16000, format=form)
    file.seek(0)
    return file


def test_recordings_in_memory_are_bounded_together():
    """Two of a limit of 2 s fit at once; a third is decoded and waits."""

    async def scene() -> None:
        uploads, leaving = Uploads(Limits(seconds=2.0)), asyncio.Event()
        held = []

        async def hear() -> None:
            async with uploads.waveform(recording(2.0), "clip", 16000) as waveform:
                held.append(len(waveform))
                await leaving.wait()

        tasks = [asyncio.create_task(hear()) for _ in range(5)]
        for _ in range(100):
            await asyncio.sleep(0.005)
        assert held == [32000, 32000]
        leaving.set()
        await asyncio.gather(*tasks)
        assert len(held) == 5

    asyncio.run(scene())


def test_a_compressed_bomb_is_refused_before_it_is_decoded(monkeypatch):
    """An hour of silence in a few kilobytes; nobody reads its samples."""
    bomb = recording(3600.0, form="FLAC")
    assert len(bomb.getvalue()) < 1_000_000
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("the bomb was decoded"))

    async def scene() -> None:
        with pytest.raises(HTTPException) as refused:
            async with Uploads(Limits()).waveform(bomb, "bomb.flac", 16000):
                pass
        assert refused.value.status_code == 413
        assert "bomb.flac: longer than the 1800 s" in refused.value.detail

    asyncio.run(scene())


@pytest.mark.parametrize("form", ["VOC", "SDS", "MAT5"])
def test_formats_that_nobody_records_in_are_not_even_opened(form):
    async def scene() -> None:
        with pytest.raises(HTTPException, match="not a recording") as refused:
            async with Uploads(Limits()).waveform(recording(0.1, form=form), "old.bin", 16000):
                pass
        assert refused.value.status_code == 400

    asyncio.run(scene())


@pytest.mark.parametrize("form", ["WAV", "RF64", "FLAC", "OGG", "MP3", "AIFF", "CAF", "AU", "W64"])
def test_formats_that_people_record_in_are_heard(form):
    async def scene() -> None:
        async with Uploads(Limits()).waveform(recording(0.5, form=form), "clip", 8000) as waveform:
            assert len(waveform) == 4000

    asyncio.run(scene())


@pytest.fixture
def instance(tmp_path, monkeypatch) -> process.Instance:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return process.Instance("model", "name", "127.0.0.1", 8025, os.getpid(), 0.0, [])


def test_a_server_is_listed_while_it_runs(instance):
    with process.listed(instance):
        assert process.running() == [instance]
        with pytest.raises(ConfigError, match="a server already has port 8025"), process.listed(instance):
            pass
    assert process.running() == []
    assert not any(process.folder().glob("*.json"))


def test_open_requests_are_those_of_all_models(instance, monkeypatch):
    told = iter([b'{"models": {"a": {"requests": 2}, "b": {"requests": 3}}}', b'{"error": {}}', b"", b"<html>"])

    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(next(told))

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = replace(instance, host="0.0.0.0", port=server.server_port)
        assert [process.requests_of(there) for _ in range(4)] == [5, None, None, None]
        server.shutdown()
    assert process.requests_of(there) is None


class _Failing:
    """A timer of words that fails for one of the completions."""

    def __init__(self):
        self.asked: list[str] = []

    def __call__(self, prompt: Prompt, completion: Completion) -> list[Word]:
        self.asked.append(completion.text)
        if completion.text == "bad":
            raise ValueError("it cannot be aligned")
        return [Word(completion.text, 0.0, 1.0)]


def test_only_the_job_whose_words_cannot_be_timed_fails():
    async def run() -> None:
        timer = _Failing()
        jobs = {name: _job() for name in ("bad", "good", "left")}
        jobs["left"].cancel()
        for name, job in jobs.items():
            job.complete(iter([Completion((1,), (0.0,), name, "stop")]), timer)
        assert timer.asked == ["bad", "good"], "nobody waits for the one that was canceled"
        with pytest.raises(ValueError, match="cannot be aligned"):
            await jobs["bad"].answered()
        assert (await jobs["good"].answered())[0].text == "good"
        assert jobs["good"].word_times == [[Word("good", 0.0, 1.0)]]
        broken = _job()
        broken.complete((Completion((), (), f"{one / 0}", "stop") for one in [1]), timer)
        with pytest.raises(ZeroDivisionError):
            await broken.answered()

    asyncio.run(run())


def _job() -> Job:
    prompt = Prompt("clip", np.zeros(16000, np.float32), 16000, transcribe=True)
    return Job(Question(prompt), [Row(Sampling(0.0, 8), None)], words=True)


def test_what_a_killed_server_left_is_in_nobodys_way(instance):
    process.folder().mkdir(parents=True)
    (process.folder() / "8025.json").write_text(json.dumps(asdict(instance)))
    assert process.running() == []
    with process.listed(instance):
        assert process.running() == [instance]


def test_looking_at_the_list_keeps_no_server_from_starting(instance):
    """It takes the lock for a moment."""
    process.folder().mkdir(parents=True)
    with (process.folder() / "8025.json").open("a+") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with process.listed(instance):
            assert process.running() == [instance]
