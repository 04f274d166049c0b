"""Every form of audio file: what is read is what FFmpeg decodes, segments are parts of it, and cut files are found."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from audio_files import ALL, by_ffmpeg_read, made, speech_like, with_data_size

from antiphon.audio.decode import FileClip, probe, read_audio, read_recording
from antiphon.audio.embedded import Embedded
from antiphon.audio.faults import TooLongError
from antiphon.errors import AudioError

LAME_DELAY = 1105
PLAIN = ("plain.mp3", "plain-vbr.mp3")
"""LAME's, without a header that states its delay."""
UNSTATED = ("adts.aac", "dolby.ac3", "phone.amr", "pipe.wav", "no-size.wav", "live.webm", "layer2.mp2", *PLAIN)
"""Nothing in them states how long they are, so a file that is cut between two frames is whole."""


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("forms")
    for name in ALL:
        written(folder, name, made(name, 4.0))
    return folder


@pytest.mark.parametrize("name", [name for name in ALL if name != "two.mp3"])
def test_what_is_read_is_what_ffmpeg_decodes(files: Path, name: str):
    expected, rate = by_ffmpeg_read((files / name).read_bytes())
    expected = expected[LAME_DELAY:] if name in PLAIN else expected
    waveform = read_audio(files / name, rate)
    assert probe(files / name).rate == rate
    assert len(waveform) == len(expected)
    if name == "adpcm.wav":  # The two libraries round its steps differently.
        assert np.corrcoef(waveform, expected)[0, 1] > 0.999
    else:
        assert np.corrcoef(waveform, expected)[0, 1] >= 0.9999


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("begin", "end"), [(0.31, 1.5), (2.7, 3.6), (3.5, 3.97)])
def test_a_segment_is_that_part_of_the_file(files: Path, name: str, begin: float, end: float):
    rate = probe(files / name).rate
    whole, segment = read_audio(files / name, rate), read_audio(files / name, rate, begin, end)
    assert len(segment) == round(end * rate) - round(begin * rate)
    np.testing.assert_allclose(segment, whole[round(begin * rate) : round(end * rate)], atol=2e-4)


@pytest.mark.parametrize("name", ["plain.mp3", "xing.mp3", "libsndfile.mp3", "vbr.mp3", "plain-vbr.mp3"])
def test_an_mp3_is_not_shifted_against_what_was_encoded(files: Path, name: str):
    rate = probe(files / name).rate
    spoken, waveform = speech_like(4.0, rate), read_audio(files / name, rate)
    shifts = {
        shift: np.dot(spoken[2000:-2000], waveform[2000 + shift :][: len(spoken) - 4000]) for shift in (-40, 0, 40)
    }
    assert max(shifts, key=lambda one: shifts[one]) == 0
    assert np.corrcoef(spoken, waveform[: len(spoken)])[0, 1] > 0.99


@pytest.mark.parametrize("parts", [("xing.mp3", "xing.mp3"), ("xing.mp3", "libsndfile.mp3"), ("xing.mp3",) * 3])
def test_mp3s_one_after_the_other_are_heard_to_the_end_without_a_gap(tmp_path: Path, parts: tuple[str, ...]):
    path = written(tmp_path, "all.mp3", b"".join(made(name, 1.5, seed) for seed, name in enumerate(parts)))
    waveform = read_audio(path, 16000)
    spoken = np.concatenate([speech_like(1.5, 16000, seed) for seed in range(len(parts))])
    assert len(waveform) == len(spoken)
    assert np.corrcoef(waveform, spoken)[0, 1] > 0.98


def test_a_segment_of_an_mp3_decodes_no_more_for_being_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from antiphon.audio import mp3

    path, decoded = written(tmp_path, "long.mp3", made("plain.mp3", 30.0)), []
    real = mp3.samples_of
    monkeypatch.setattr(mp3, "samples_of", lambda frame: decoded.append(1) or real(frame))
    for begin in (2.0, 15.0, 28.0):
        decoded.clear()
        read_audio(path, 16000, begin, begin + 1)
        assert len(decoded) <= 32


@pytest.mark.parametrize("share", [0.35, 0.6, 0.9])
@pytest.mark.parametrize("name", [name for name in ALL if name not in UNSTATED])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, name: str, share: float):
    content = made(name, 4.0)
    path = written(tmp_path, name, content[: int(len(content) * share)])
    for use in (lambda: read_audio(path, 16000), FileClip(path).scan):
        with pytest.raises(AudioError, match="truncated or damaged"):
            use()


@pytest.mark.parametrize("name", UNSTATED)
def test_a_file_without_a_length_is_cut_between_frames_or_refused(tmp_path: Path, name: str):
    content, outcomes = made(name, 4.0), []
    for place in range(5):
        path = written(tmp_path, name, content[: len(content) * 3 // 5 + 37 * place])
        try:
            heard = read_audio(path, 16000)
        except AudioError as error:
            outcomes.append("truncated or damaged" in str(error))
        else:
            outcomes.append(2.0 < len(heard) / 16000 < 2.8)
    assert all(outcomes)


@pytest.mark.parametrize("extra", [0, 1, -1])
def test_a_wav_with_a_wrong_size_is_read(tmp_path: Path, extra: int):
    content = made("pcm16.wav", 1.0)
    size = len(content) - content.index(b"data") - 8
    path = written(tmp_path, "odd.wav", with_data_size(content, size + extra if extra else 0))
    assert len(read_audio(path, 16000)) == 16000 - (extra < 0)
    with pytest.raises(AudioError, match="lacks the last 1000 "):
        read_audio(written(tmp_path, "cut.wav", with_data_size(content, size + 1000)), 16000)


@pytest.mark.parametrize(
    "chunk", [b"LIST\x03\x00\x00\x00abc\x00", b"note\x00\x00\x00\x00", b"bext\x05\x00\x00\x00abcde\x00"]
)
def test_chunks_of_odd_size_before_the_audio_are_passed(tmp_path: Path, chunk: bytes):
    content = made("pcm16.wav", 1.0)
    at = content.index(b"data")
    path = written(tmp_path, "chunk.wav", content[:at] + chunk + content[at:])
    np.testing.assert_array_equal(read_audio(path, 16000), read_audio(Embedded("plain", lambda: content), 16000))


@pytest.mark.parametrize("at", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("name", ["xing.mp3", "plain.mp3", "free.flac", "pipe.flac"])
def test_a_hole_in_a_file_is_found(tmp_path: Path, name: str, at: float):
    content = bytearray(made(name, 4.0))
    begin = int(len(content) * at)
    content[begin : begin + 2000] = b"\x55" * 2000
    with pytest.raises(AudioError, match="truncated or damaged"):
        read_audio(written(tmp_path, name, bytes(content)), 16000)


@pytest.mark.parametrize("name", ["aac.m4a", "opus.webm", "plain.mp3", "phone.amr", "pcm16.wav", "free.flac"])
def test_the_server_hears_the_same_up_to_its_limit(files: Path, name: str):
    np.testing.assert_array_equal(read_recording(files / name, 16000, 10.0), read_audio(files / name, 16000))
    with pytest.raises(TooLongError, match=r"longer than the 2.5 s"):
        read_recording(files / name, 16000, 2.5)


@pytest.mark.parametrize("name", ["aac.m4a", "opus.webm", "plain.mp3", "vorbis.ogg", "sphere.sph"])
def test_bytes_in_memory_are_read_as_files_are(files: Path, name: str):
    embedded = Embedded(name, (files / name).read_bytes)
    np.testing.assert_array_equal(read_audio(embedded, 16000, 1.0, 3.5), read_audio(files / name, 16000, 1.0, 3.5))


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nSECRET\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile SECRET\n",
        b"<?xml version='1.0'?><MPD><BaseURL>SECRET</BaseURL></MPD>",
    ],
)
def test_a_playlist_opens_nothing(tmp_path: Path, content: bytes):
    secret = written(tmp_path, "secret.wav", made("pcm16.wav", 1.0))
    path = written(tmp_path, "list.m3u8", content.replace(b"SECRET", str(secret).encode()))
    with pytest.raises(AudioError, match="holds text, not audio"):
        read_audio(path, 16000)


def test_a_video_without_sound_is_refused(tmp_path: Path):
    import av

    with av.open(tmp_path / "mute.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no audio stream"):
        read_audio(tmp_path / "mute.mp4", 16000)


@pytest.mark.parametrize("name", ["two.mp3", "plain.mp3", "aac.m4a", "vorbis.ogg"])
def test_c_libraries_do_not_write_to_the_terminal(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]):
    content = bytearray(made(name, 2.0))
    for damage in range(20):
        hurt = content.copy()
        hurt[len(hurt) * (damage + 1) // 22] ^= 0xFF
        with contextlib.suppress(AudioError):
            read_audio(written(tmp_path, name, bytes(hurt)), 16000)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tag", [b"ID3\x04\x00\x00\x80\x00\x00\x23", b"ID3\x03\x00\x00\xff\xff\xff\xff", b"ID3\x04"])
def test_a_broken_tag_is_no_reason_to_ask_another_decoder(
    tmp_path: Path, tag: bytes, capfd: pytest.CaptureFixture[str]
):
    path = written(tmp_path, "tag.mp3", tag + made("plain.mp3", 1.0)[45:])
    with contextlib.suppress(AudioError):
        read_audio(path, 16000)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_hundreds_of_damaged_files_neither_crash_nor_hang_nor_pass_with_a_wrong_length():
    from fuzz_audio import fuzz

    found = fuzz(7, range(220))
    assert found.failures == []
    assert found.kinds["refused"] > 50
    assert sum(count for kind, count in found.kinds.items() if kind.startswith("read")) > 50


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(["pcm16.wav", "free.flac", "vorbis.ogg", "xing.mp3", "aac.m4a", "opus.webm", "core.caf"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=4),
    kept=st.floats(0.05, 1),
    ending=st.sampled_from([".wav", ".mp3", ".raw", ""]),
)
def test_whatever_is_changed_a_file_is_read_or_refused_by_name(name, edits, kept, ending):
    content = bytearray(made(name, 0.5))
    for at, value in edits:
        begin = int(at * (len(content) - len(value)))
        content[begin : begin + len(value)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), f"clip{ending}", bytes(content[: int(kept * len(content))]))
        try:
            waveform = read_audio(path, 16000)
        except AudioError as error:
            message = str(error)
        else:
            message = f"{path}: {len(waveform)}" if np.isfinite(waveform).all() else ""
    assert f"clip{ending}" in message


@pytest.mark.parametrize("filler", [b"\x55", b"\xff\xfb", b"junk"])
def test_a_lost_beginning_of_an_mp3_is_not_passed_over(tmp_path: Path, filler: bytes):
    content = made("xing.mp3", 2.0)
    tag = 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(content[6:10])))  # ID3v2.4, section 3.1.
    hurt = content[:tag] + (filler * 3000)[:3000] + content[tag + 3000 :]
    with pytest.raises(AudioError, match="truncated or damaged"):
        read_audio(written(tmp_path, "a.mp3", hurt), 16000)
    padded = content[:tag] + bytes(500) + content[tag:]
    assert len(read_audio(written(tmp_path, "b.mp3", padded), 16000)) == 32000
