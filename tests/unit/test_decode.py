"""Reading audio files: values, rates, channels, segments, and the message for each fault."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon.audio.decode import AudioInfo, FileClip, probe, read_audio, scan
from antiphon.errors import AudioError
from antiphon.types import Clip

RATE = 16_000


def ramp(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return np.linspace(-0.5, 0.5, round(seconds * rate), dtype=np.float32)


def noise(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def fault(path: Path, begin: float | None = None, end: float | None = None) -> str:
    """The message with the folder taken out; reading and scanning must say the same."""
    with pytest.raises(AudioError) as read:
        read_audio(path, RATE, begin, end)
    with pytest.raises(AudioError) as scanned:
        scan(path, begin, end)
    assert str(read.value) == str(scanned.value)
    return str(read.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_lossless_files_come_back_sample_for_sample(tmp_path: Path, name: str):
    samples = np.array([0, 0.25, -0.5, 0.75], dtype=np.float32)
    waveform = read_audio(write(tmp_path / name, samples), RATE)
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, samples)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_lossy_files_come_back_at_full_length_and_close(tmp_path: Path, name: str):
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
    waveform = read_audio(write(tmp_path / name, tone), RATE)
    assert len(waveform) == RATE
    assert np.abs(waveform - tone)[1000:-1000].max() < 0.05


def test_stereo_is_averaged(tmp_path: Path):
    left, right = np.full(100, 0.5, np.float32), np.full(100, -0.25, np.float32)
    path = write(tmp_path / "stereo.wav", np.stack([left, right], axis=1))
    np.testing.assert_array_equal(read_audio(path, RATE), np.full(100, 0.125, np.float32))
    assert probe(path) == AudioInfo(rate=RATE, channels=2, frames=100, format="WAV")


def test_96_khz_is_resampled_to_the_same_tone(tmp_path: Path):
    time = np.arange(96_000) / 96_000
    path = write(tmp_path / "high.flac", 0.5 * np.sin(2 * np.pi * 1000 * time), 96_000)
    waveform = read_audio(path, RATE)
    assert len(waveform) == RATE
    assert np.argmax(np.abs(np.fft.rfft(waveform))) == 1000
    assert np.abs(waveform).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_segment_is_that_part_of_the_file(tmp_path: Path, name: str):
    path = write(tmp_path / name, noise(2.0))
    whole = read_audio(path, RATE)
    np.testing.assert_allclose(read_audio(path, RATE, 0.5, 1.25), whole[8000:20_000], atol=1e-6)
    np.testing.assert_allclose(read_audio(path, RATE, 1.5, -1), whole[24_000:], atol=1e-6)
    np.testing.assert_allclose(read_audio(path, RATE, -1, 0.5), whole[:8000], atol=1e-6)
    np.testing.assert_array_equal(read_audio(path, RATE, -1, -1), whole)


def test_a_long_file_is_the_same_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "a.flac", noise())
    whole = read_audio(path, RATE)
    monkeypatch.setattr("antiphon.audio.sndfile._BLOCK", 1000)
    np.testing.assert_array_equal(read_audio(path, RATE), whole)


def test_a_file_clip_is_a_clip_and_names_its_segment(tmp_path: Path):
    path = write(tmp_path / "a.wav", ramp(2.0))
    clip = FileClip(path, 0.5, 1.75)
    assert isinstance(clip, Clip)
    assert clip.name == f"{path}#t=0.5,1.75"
    assert FileClip(path, -1, -1).name == str(path)
    assert FileClip(path, 0.5).name == f"{path}#t=0.5"
    assert clip.seconds() == 1.25
    assert clip.scan() == (AudioInfo(RATE, 1, 2 * RATE, "WAV"), 1.25)
    assert len(clip.load(8000)) == 10_000


def test_missing_file(tmp_path: Path):
    assert fault(tmp_path / "none.wav") == (
        "none.wav: no such file; correct the path (a JSONL row's path is relative to the JSONL file)"
    )


def test_folder(tmp_path: Path):
    (tmp_path / "folder.wav").mkdir()
    assert fault(tmp_path / "folder.wav") == "folder.wav: is a folder; give the path of an audio file"


def test_zero_length_file(tmp_path: Path):
    (tmp_path / "empty.wav").touch()
    assert fault(tmp_path / "empty.wav") == "empty.wav: the file is empty (0 bytes); copy or record it again"


def test_file_without_samples(tmp_path: Path):
    assert fault(write(tmp_path / "none.wav", ramp(0))) == (
        "none.wav: the file has a header but no samples; record it again or remove the row"
    )


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_truncated_flac(tmp_path: Path, share: float):
    message = fault(cut(write(tmp_path / "cut.flac", noise(3.0)), share))
    assert message.startswith("cut.flac: truncated or damaged: its 3 s do not decode to the end (")
    assert message.endswith("); copy it again, or remove the row")


def test_truncated_wav(tmp_path: Path):
    path = write(tmp_path / "cut.wav", ramp())
    path.write_bytes(path.read_bytes()[:-100])
    assert fault(path) == (
        "cut.wav: truncated or damaged: it lacks the last 100 of the bytes that its header states; "
        "copy it again, or remove the row"
    )
    assert len(read_audio(path, RATE, 0, 0.5)) == RATE // 2


def test_truncated_ogg(tmp_path: Path):
    message = fault(cut(write(tmp_path / "cut.ogg", noise(3.0)), 0.5))
    assert message.startswith("cut.ogg: truncated or damaged: it lacks the last ")


def test_truncated_mp3(tmp_path: Path):
    message = fault(cut(write(tmp_path / "cut.mp3", noise(3.0)), 0.5))
    assert message.startswith("cut.mp3: truncated or damaged: its header states 3.")


def test_wav_written_to_a_pipe_has_no_size_and_is_whole(tmp_path: Path):
    path = write(tmp_path / "pipe.wav", ramp())
    content = bytearray(path.read_bytes())
    assert content[36:40] == b"data"
    content[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    assert len(read_audio(path, RATE)) == RATE


def test_flac_without_a_length_is_read_to_its_end(tmp_path: Path):
    samples = noise(3.0)
    path = write(tmp_path / "pipe.flac", samples)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    np.testing.assert_allclose(read_audio(path, RATE), samples, atol=2**-15)
    assert probe(path).frames == 3 * RATE
    assert "truncated or damaged" in fault(cut(path, 0.5))


@pytest.mark.parametrize("name", ["text.wav", "text.mp3"])
def test_text_file_named_as_audio(tmp_path: Path, name: str):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00é\n" * 20)
    assert fault(tmp_path / name) == (
        f"{name}: holds text, not audio (it begins 'version https://git-lfs.github.c'); replace it by the recording"
    )


def test_bytes_that_are_not_audio(tmp_path: Path):
    (tmp_path / "bytes.wav").write_bytes(bytes(range(256)))
    assert fault(tmp_path / "bytes.wav") == (
        "bytes.wav: not audio that can be read (Format not recognised); convert it with: ffmpeg -i IN OUT.flac"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite(tmp_path: Path, value: float):
    samples = np.stack([ramp(), ramp()], axis=1)
    samples[4000, 1] = value
    assert fault(write(tmp_path / "nan.wav", samples, subtype="FLOAT")) == (
        "nan.wav: samples are NaN or infinite, the first at 0.25 s; export it again or remove the row"
    )


def test_segment_beyond_the_end(tmp_path: Path):
    path = write(tmp_path / "a.wav", ramp(2.0))
    beyond = "is beyond the end of the file, which lasts 2 s; correct begin_time or end_time"
    assert fault(path, 1.5, 2.6) == f"a.wav: the segment from 1.5 s to 2.6 s {beyond}"
    assert fault(path, 2.0) == f"a.wav: the segment from 2 s to the end {beyond}"
    with pytest.raises(AudioError, match="beyond the end"):
        FileClip(path, 1.5, 2.6).seconds()


@pytest.mark.parametrize("end", [2.01, 2.2, 2.5])
def test_an_end_a_little_past_the_file_is_cut_with_a_note(tmp_path: Path, end: float):
    clip = FileClip(write(tmp_path / "a.wav", ramp(2.0)), 1.0, end)
    info, seconds = clip.scan()
    assert seconds == clip.seconds() == len(clip.load(RATE)) / RATE == 1.0
    note = clip.note(info)
    assert note is not None
    assert f"{end - 2:.3g} s after its file" in note


@pytest.mark.parametrize("slack", [0.0, 0.1])
def test_the_slack_is_a_setting(tmp_path: Path, slack: float):
    path = write(tmp_path / "a.wav", ramp(2.0))
    assert len(read_audio(path, RATE, 1.0, 2.0 + slack, end_slack=slack)) == RATE
    with pytest.raises(AudioError, match="beyond the end"):
        read_audio(path, RATE, 1.0, 2.05 + slack, end_slack=slack)


def test_times_rounded_to_hundredths_are_not_worth_a_note(tmp_path: Path):
    clip = FileClip(write(tmp_path / "a.wav", ramp(1.996)), 1.0, 2.0)
    assert len(clip.load(RATE)) == round(0.996 * RATE)
    assert clip.note(clip.scan()[0]) is None


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_a_channel_is_heard_alone(tmp_path: Path, name: str):
    left, right = (np.sin(np.arange(RATE) / period).astype(np.float32) / 2 for period in (7, 11))
    path = write(tmp_path / name, np.stack([left, right], axis=1))
    heard = [read_audio(path, RATE, channel=one) for one in (0, 1, "mix")]
    assert np.corrcoef(heard[0], left)[0, 1] > 0.98
    assert np.corrcoef(heard[1], right)[0, 1] > 0.98
    np.testing.assert_allclose(heard[2], (heard[0] + heard[1]) / 2, atol=1e-6)
    clip = FileClip(path, 0.25, 0.75, channel=1)
    np.testing.assert_allclose(clip.load(RATE), heard[1][4000:12_000], atol=1e-5)
    assert clip.name == f"{path}#t=0.25,0.75&channel=1"
    assert FileClip(path, channel=0).name == f"{path}#channel=0"


@pytest.mark.parametrize("channel", [2, -1, 7])
def test_a_channel_that_is_not_there(tmp_path: Path, channel: int):
    path = write(tmp_path / "a.wav", np.zeros((100, 2), np.float32))
    with pytest.raises(AudioError, match=rf"a.wav: has 2 channel\(s\), numbered from 0, so no channel {channel}"):
        read_audio(path, RATE, channel=channel)


@pytest.mark.parametrize("name", ["a.raw", "a.RAW", "a.gsm"])
def test_names_decide_nothing(tmp_path: Path, name: str):
    path = write(tmp_path / "a.wav", ramp())
    renamed = path.rename(tmp_path / name)
    np.testing.assert_allclose(read_audio(renamed, RATE), ramp(), atol=2**-15)
    renamed.write_bytes(bytes(range(256)))
    assert "not audio that can be read" in fault(renamed)


def test_segments_that_make_no_sense(tmp_path: Path):
    path = write(tmp_path / "a.wav", ramp(2.0))
    assert fault(path, 1.5, 0.5) == (
        "a.wav: the segment from 1.5 s to 0.5 s ends before it begins; correct begin_time or end_time"
    )
    assert fault(path, -0.5) == "a.wav: begin_time is -0.5; give seconds from 0 up, or -1 for the whole file"
    assert fault(path, 0, float("nan")).startswith("a.wav: end_time is nan; give seconds")
    assert fault(path, 1.0, 1.00001) == (
        "a.wav: the segment from 1 s to 1.00001 s holds no samples at 16000 Hz; remove the row"
    )


def test_a_clip_too_short_to_resample(tmp_path: Path):
    path = write(tmp_path / "dot.wav", np.zeros(1, np.float32), 96_000)
    with pytest.raises(AudioError, match=r"dot.wav: 1 sample\(s\) at 96000 Hz leave none at 100 Hz"):
        read_audio(path, 100)
