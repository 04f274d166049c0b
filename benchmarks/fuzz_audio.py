"""Reads thousands of damaged and odd audio files: does any crash, hang, or pass with a wrong length?

Files of every form (`audio_files.py`) are damaged in a way drawn from the seed and the file's number, and read in
processes of their own. A file must be read, or refused with an `AudioError`, within the time limit and without a word
on the terminal. What is read must be as long as what FFmpeg decodes of it, or as what libsndfile does where FFmpeg
misreads the file; a file that was cut must be refused where its form states a length. Ends with status 1 otherwise.

    python benchmarks/fuzz_audio.py --files 10000 --json
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from audio_files import ALL, made
from av.error import FFmpegError

from antiphon.audio.decode import FileClip, probe, read_audio
from antiphon.errors import AudioError

LIMIT = 10.0
"""Seconds that a file may take."""
MEMORY = 8 << 30
TOLERANCE = 0.06
"""Seconds by which lengths may differ: two frames of an MP3 at 44.1 kHz."""
LAME_DELAY = 1105
"""Samples that we leave out where LAME wrote no header; FFmpeg keeps them."""
GAP = 576 + LAME_DELAY + 1152
"""Samples of header, delay and padding where one MP3 follows another, which FFmpeg keeps."""
UNSTATED = ("adts", "dolby", "phone", "pipe", "no-size", "live", "layer2", "plain", "aac.mka", "opus.webm", "ogg")
"""Beginnings and ends of names of forms that state no length, or only up to a page or a cluster."""
ENDINGS = (".wav", ".flac", ".mp3", ".raw", ".gsm", ".m4a", ".txt", ".sph", ".vox", "", ".sd2", ".au")

Draw = np.random.Generator


def cut(content: bytes, rng: Draw) -> bytes:
    return content[: int(rng.integers(len(content)))]


def flip(content: bytes, rng: Draw, within: int | None = None) -> bytes:
    hurt = bytearray(content)
    for at in rng.integers(min(within or len(hurt), len(hurt)), size=int(rng.integers(1, 12))):
        hurt[int(at)] ^= 1 << int(rng.integers(8))
    return bytes(hurt)


def overwrite(content: bytes, rng: Draw) -> bytes:
    begin, size = int(rng.integers(len(content))), int(rng.integers(1, 3000))
    filler = bytes(size) if rng.random() < 0.5 else rng.bytes(size)
    return content[:begin] + filler[: len(content) - begin] + content[begin + size :]


def remove(content: bytes, rng: Draw) -> bytes:
    begin = int(rng.integers(len(content)))
    return content[:begin] + content[begin + int(rng.integers(1, 3000)) :]


def insert(content: bytes, rng: Draw) -> bytes:
    at = int(rng.integers(len(content)))
    return content[:at] + rng.bytes(int(rng.integers(1, 500))) + content[at:]


def append(content: bytes, rng: Draw) -> bytes:
    tail = [b"TAG" + rng.bytes(125), bytes(int(rng.integers(1, 5000))), rng.bytes(int(rng.integers(1, 5000))), content]
    return content + tail[int(rng.integers(len(tail)))]


def other_head(content: bytes, rng: Draw) -> bytes:
    """The beginning of another form."""
    size = int(rng.choice([4, 8, 12, 44, 200]))
    return _original(rng)[1][:size] + content[size:]


def number(content: bytes, rng: Draw) -> bytes:
    """A 32-bit number of the first 128 bytes replaced by an extreme one."""
    at = int(rng.integers(max(min(len(content), 128) - 4, 1)))
    value = int(rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(content), len(content) + 1]))
    return content[:at] + struct.pack("<I" if rng.random() < 0.7 else ">I", value) + content[at + 4 :]


def noise(content: bytes, rng: Draw) -> bytes:
    """The first bytes of a form, and nothing of it after them."""
    return content[: int(rng.choice([2, 4, 12, 64]))] + rng.bytes(int(rng.integers(1, 20_000)))


DAMAGE: dict[str, Callable[[bytes, Draw], bytes]] = {
    "cut": cut,
    "bits flipped": flip,
    "bits of the header flipped": lambda content, rng: flip(content, rng, 128),
    "block overwritten": overwrite,
    "block removed": remove,
    "bytes inserted": insert,
    "bytes appended": append,
    "header of another form": other_head,
    "number in the header replaced": number,
    "noise after the first bytes": noise,
    "renamed": lambda content, rng: content,
}


@lru_cache(maxsize=256)
def _made(name: str, seconds: float, seed: int) -> bytes:
    return made(name, seconds, seed)


def _original(rng: Draw) -> tuple[str, bytes]:
    name = ALL[int(rng.integers(len(ALL)))]
    return name, _made(name, float(rng.choice([0.3, 1.1, 2.4])), int(rng.integers(2)))


@dataclass(frozen=True)
class Case:
    """One file."""

    name: str
    damage: str
    content: bytes
    original: bytes
    form: str
    """What the original is called in `audio_files`; a file may be renamed."""

    @property
    def cut_where_stated(self) -> bool:
        """Whether audio is missing that the form states."""
        stated = not self.form.startswith(UNSTATED) and not self.form.endswith(UNSTATED)
        return self.damage == "cut" and stated and len(self.content) < 0.9 * len(self.original)


def case(seed: int, place: int) -> Case:
    rng = np.random.default_rng([seed, place])
    form, original = _original(rng)
    name = form
    damage = list(DAMAGE)[place % len(DAMAGE)]
    content = DAMAGE[damage](original, rng)
    if damage == "renamed" or rng.random() < 0.1:
        name = f"{Path(name).stem}{ENDINGS[int(rng.integers(len(ENDINGS)))]}"
    return Case(name, damage, content, original, form)


def outcome(one: Case, folder: Path) -> tuple[str, str]:
    """What came of reading a file: "read", "refused" or a kind of failure, and its description."""
    path = folder / one.name
    path.write_bytes(one.content)
    try:
        info = probe(path)
        waveform = read_audio(path, info.rate)
        _, seconds = FileClip(path).scan()
    except AudioError as error:
        return "refused", str(error)
    except Exception as error:
        return "other error", f"{type(error).__name__}: {error}"
    finally:
        path.unlink()
    if not np.isfinite(waveform).all() or abs(seconds - len(waveform) / info.rate) > 1e-6:
        return "wrong length", f"scanned {seconds:.6g} s, read {len(waveform) / info.rate:.6g} s"
    if one.cut_where_stated:
        return "wrong length", f"cut to {len(one.content)} of {len(one.original)} bytes, and read"
    return _compared(one, len(waveform) / info.rate, info.rate)


def _compared(one: Case, ours: float, rate: int) -> tuple[str, str]:
    content = one.content
    is_mp3 = one.form.endswith(".mp3")
    joints = (2 if one.form == "two.mp3" else 1) * (2 if one.damage == "bytes appended" else 1) - 1
    tolerance = TOLERANCE + is_mp3 * joints * GAP / rate
    theirs, their_rate = by_ffmpeg(content)
    if not their_rate and ours <= TOLERANCE:
        return "read", "of a frame or two, for which FFmpeg opens no file"
    for demuxer in (None, "mp3", "aac"):
        count, found_rate = (theirs, their_rate) if demuxer is None else by_ffmpeg(content, demuxer)
        delays = (0, LAME_DELAY, -LAME_DELAY) if b"\xff" in content else (0,)
        if found_rate and any(abs(ours - (count - delay) / found_rate) <= tolerance for delay in delays):
            return "read", "as FFmpeg"
    original, original_rate = by_ffmpeg(one.original)
    header = is_mp3 * GAP / rate  # A lost header leaves delay and padding in.
    if one.damage != "cut" and original_rate and abs(ours - original / original_rate) <= tolerance + header:
        return "read", "as before the damage"
    snd = by_libsndfile(content)
    if snd is not None and abs(ours - snd) <= TOLERANCE:
        return "read", "as libsndfile"
    said = f"{theirs / their_rate:.6g} s" if their_rate else "nothing"
    return "wrong length", f"read {ours:.6g} s, FFmpeg decodes {said}, libsndfile {snd}"


def by_ffmpeg(content: bytes, demuxer: str | None = None) -> tuple[int, int]:
    """How many samples FFmpeg decodes, passing over what it cannot, and their rate. It guesses the demuxer from the
    content, which a few bytes more at the end can make it refuse."""
    samples = rate = 0
    with (
        contextlib.suppress(FFmpegError, ValueError, OSError, IndexError),
        av.open(io.BytesIO(content), format=demuxer) as container,
    ):
        for packet in container.demux(container.streams.audio[0]):
            with contextlib.suppress(FFmpegError, ValueError):
                for frame in packet.decode():
                    samples, rate = samples + frame.samples, frame.sample_rate
    return samples, rate


def by_libsndfile(content: bytes) -> float | None:
    """The seconds that libsndfile decodes; None if it does not open the file. Not for MP3, which it misreads."""
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.format == "MP3" or file.frames > 1 << 40:
                return None
            return sum(len(block) for block in file.blocks(1 << 16)) / file.samplerate
    except (soundfile.LibsndfileError, TypeError, ValueError):
        return None


def work(connection: Connection, seed: int) -> None:
    """Read the files whose numbers come, until none does."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as terminal:
        os.dup2(terminal.fileno(), 1)
        os.dup2(terminal.fileno(), 2)
        while (place := connection.recv()) is not None:
            one = case(seed, place)
            connection.send("made")  # The limit is for reading.
            begin = os.fstat(terminal.fileno()).st_size
            kind, said = read(one, Path(folder), terminal.fileno(), begin)
            connection.send((one.name, one.damage, kind, said))


def read(one: Case, folder: Path, terminal: int, begin: int) -> tuple[str, str]:
    kind, said = outcome(one, folder)
    end = os.fstat(terminal).st_size
    if end > begin and kind in ("read", "refused"):
        return "wrote to the terminal", os.pread(terminal, min(end - begin, 300), begin).decode(errors="replace")
    return kind, said


class Worker:
    """A process that reads files."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._start()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=work, args=(theirs, self._seed), daemon=True)
        self._process.start()
        theirs.close()

    def read(self, place: int) -> tuple[str, str, str, str]:
        """(name, damage, kind, description) of a file; a process that died or hangs is replaced."""
        failure = "crash"
        try:
            self._connection.send(place)
            self._connection.recv()
            if self._connection.poll(LIMIT):
                return self._connection.recv()
            failure = "hang"
        except (EOFError, OSError):
            pass
        self._process.kill()
        self._process.join()
        code = self._process.exitcode
        self._start()
        one = case(self._seed, place)
        return one.name, one.damage, failure, f"exit status {code}" if failure == "crash" else f"over {LIMIT:g} s"

    def close(self) -> None:
        self._connection.send(None)
        self._process.join(5)


@dataclass
class Found:
    """What came of all files."""

    kinds: Counter[str] = field(default_factory=Counter)
    damage: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, place: int, result: tuple[str, str, str, str], seconds: float) -> None:
        name, damage, kind, said = result
        self.kinds[f"read {said}" if kind == "read" else kind] += 1
        self.damage.setdefault(damage, Counter())[kind] += 1
        self.slowest = max(self.slowest, seconds)
        if kind not in ("read", "refused"):
            self.failures.append({"file": place, "name": name, "damage": damage, "kind": kind, "said": said[-300:]})


def fuzz(seed: int, files: Sequence[int]) -> Found:
    found, worker = Found(), Worker(seed)
    for place in files:
        began = time.perf_counter()
        result = worker.read(place)
        found.add(place, result, time.perf_counter() - began)
    worker.close()
    return found


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first file, to repeat one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(given)
    began = time.perf_counter()
    found = fuzz(chosen.seed, range(chosen.first, chosen.first + chosen.files))
    report = {
        "files": chosen.files,
        "seed": chosen.seed,
        "outcomes": dict(found.kinds),
        "by_damage": {name: dict(counts) for name, counts in found.damage.items()},
        "failures": found.failures,
        "slowest_seconds": round(found.slowest, 3),
        "seconds": round(time.perf_counter() - began, 1),
    }
    if chosen.json:
        print(json.dumps(report, indent=1))
    else:
        for name, counts in found.damage.items():
            print(f"{name:32} {', '.join(f'{count} {kind}' for kind, count in counts.most_common())}")
        for failure in found.failures:
            print(
                f"file {failure['file']} ({failure['name']}, {failure['damage']}): {failure['kind']}: {failure['said']}"
            )
        print(
            f"{chosen.files} files in {report['seconds']} s, the slowest in {found.slowest:.2f} s: {dict(found.kinds)}"
        )
    return bool(found.failures)


if __name__ == "__main__":
    sys.exit(main())
