"""The official client against `antiphon serve`: two processes in the background, one that hears and one that reads."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import httpx2
import numpy as np
import openai
import pytest
import soundfile
import torch
from serving import save_text_model

from antiphon.client.port import free_port
from antiphon.config.teacher import TeacherConfig
from antiphon.data.corpora.sets import builtin_set
from antiphon.models.load import load_policy
from antiphon.models.policy import Sampling
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.tasks.asr import INSTRUCTION
from antiphon.train.teachers.server import Question, Server
from antiphon.types import Prompt

RATE = 16000


@dataclass(frozen=True)
class Running:
    name: str
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


def running(cli, model: object, name: str, *options: str) -> Iterator[Running]:
    """A server in the background, until the tests are done with it."""
    port = str(free_port())
    flags = ("--served-model-name", name, "--port", port, "--threads", "1", *options)
    row = cli("serve", model, *flags, "--detach", "--json").json
    assert (row["name"], row["url"]) == (name, f"http://127.0.0.1:{port}")
    yield Running(name, int(port), Path(row["log"]))
    assert cli("serve", "stop", "--port", port, "--json").json["stopped"]["pid"] == row["pid"]
    assert row["pid"] not in [one["pid"] for one in cli("serve", "status", "--json").json["servers"]]


@pytest.fixture(scope="module")
def recognizer(cli, state) -> Iterator[Running]:
    yield from running(cli, "builtin:student", "student")


@pytest.fixture(scope="module")
def reader(cli, state, tmp_path_factory) -> Iterator[Running]:
    yield from running(cli, save_text_model(tmp_path_factory.mktemp("text")), "reader")


@pytest.fixture(scope="module")
def student():
    return load_policy("builtin:student", torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def clips(student) -> list[tuple[np.ndarray, str]]:
    """Six clips, and what the model makes of each by itself."""
    waveforms = [one.clip.load(RATE) for one in builtin_set("digits-clean")[:6] if one.clip]
    prompts = [Prompt(str(i), one, RATE, INSTRUCTION) for i, one in enumerate(waveforms)]
    heard = [InProcessEngine(student).greedy([prompt], 256)[0] for prompt in prompts]
    return [(one, student.render(found).text) for one, found in zip(waveforms, heard, strict=True)]


def audio(waveform: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


def encoded(waveform: np.ndarray, container: str, codec: str) -> bytes:
    """As browsers and telephones record."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48000)
        frame = av.AudioFrame.from_ndarray(waveform[None], format="flt", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler("fltp", "mono", 48000, frame_size=stream.codec_context.frame_size or 960)
        for piece in (*resampler.resample(frame), *resampler.resample(None), None):
            for packet in stream.encode(piece):
                output.mux(packet)
    return file.getvalue()


def test_a_transcript_is_what_the_model_makes_of_the_clip(recognizer, clips):
    waveform, text = clips[0]
    transcriptions = recognizer.openai.audio.transcriptions
    file = ("clip.wav", audio(waveform))
    assert transcriptions.create(model="student", file=file).text == text
    assert transcriptions.create(model="student", file=file, response_format="text") == f"{text}\n"
    verbose = transcriptions.create(model="student", file=file, response_format="verbose_json")
    assert (verbose.text, verbose.language) == (text, "english")
    assert verbose.duration == pytest.approx(len(waveform) / RATE, abs=1e-3)
    (segment,) = verbose.segments
    assert (segment.start, segment.end, segment.text) == (0.0, pytest.approx(verbose.duration), text)
    assert -2 < segment.avg_logprob < 0
    answer = httpx2.post(f"{recognizer.url}/asr", files={"file": file}, data={"max_new_tokens": "4"})
    assert text.startswith(answer.json()["text"])
    assert answer.json()["text"] != text


def test_a_streamed_transcript_grows_to_the_same_text(recognizer, clips):
    waveform, text = clips[0]
    stream = recognizer.openai.audio.transcriptions.create(
        model="student", file=("clip.wav", audio(waveform)), stream=True
    )
    *deltas, done = list(stream)
    assert done.type == "transcript.text.done"
    assert "".join(one.delta for one in deltas) == done.text == text
    assert len(deltas) > 1


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("ipod", "aac"), ("adts", "aac")])
def test_what_browsers_and_telephones_record_is_heard(recognizer, clips, container, codec):
    waveform, text = clips[1]
    answer = httpx2.post(f"{recognizer.url}/asr", files={"file": encoded(waveform, container, codec)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["audio_seconds"] == pytest.approx(len(waveform) / RATE, abs=0.1)
    shared = set(answer.json()["text"].split()) & set(text.split())
    assert len(shared) >= len(set(text.split())) - 1


def test_a_long_recording_is_put_together_from_its_pieces(recognizer, clips):
    pause = np.zeros(RATE * 2, np.float32)
    whole = np.concatenate([part for waveform, _ in clips for part in (waveform, pause)])
    verbose = recognizer.openai.audio.transcriptions.create(
        model="student", file=("long.wav", audio(whole)), response_format="verbose_json"
    )
    assert len(verbose.segments) == len(clips)
    begin = 0.0
    for segment, (waveform, _) in zip(verbose.segments, clips, strict=True):
        end = begin + len(waveform) / RATE
        assert begin - 0.3 <= segment.start < segment.end <= end + 0.3
        begin = end + 2
    assert verbose.text == " ".join(segment.text for segment in verbose.segments)
    words = [word for _, text in clips for word in text.split()]
    assert len(set(words) & set(verbose.text.split())) >= 0.8 * len(set(words))


def test_a_conversation_about_a_clip(recognizer, clips):
    waveform, text = clips[0]
    clip = {"type": "input_audio", "input_audio": {"data": base64.b64encode(audio(waveform)).decode(), "format": "wav"}}
    messages = [{"role": "user", "content": [clip]}]
    chat = recognizer.openai.chat.completions
    answer = chat.create(model="student", messages=messages, temperature=0, logprobs=True, top_logprobs=2)
    (choice,) = answer.choices
    assert choice.message.content == f"language English<asr_text>{text}"
    told = choice.logprobs.content
    assert all(one.logprob == one.top_logprobs[0].logprob > one.top_logprobs[1].logprob for one in told)
    streamed = list(chat.create(model="student", messages=messages, temperature=0, stream=True))
    assert "".join(one.choices[0].delta.content or "" for one in streamed) == choice.message.content


def test_a_conversation_in_writing(reader):
    chat = reader.openai.chat.completions
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "Because."},
        {"role": "user", "content": "Of what?"},
    ]
    request = {"model": "reader", "messages": messages, "max_tokens": 12, "seed": 3}
    answer = chat.create(**request, n=2, extra_body={"return_token_ids": True})
    first, second = answer.choices
    assert first.message.content != second.message.content
    assert answer.usage.completion_tokens == sum(len(one.token_ids) for one in answer.choices)
    chunks = list(chat.create(**request, stream=True, stream_options={"include_usage": True}))
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == first.message.content
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == first.finish_reason
    assert chunks[-1].usage.completion_tokens == len(first.token_ids)


def test_the_server_is_a_teacher(recognizer, clips, student):
    """Its log-probabilities of an answer, by vLLM's way of telling them, are the model's."""
    waveform, text = clips[0]
    prompt = Prompt("a", waveform, RATE)
    said = f"language English<asr_text>{text}"
    server = Server(TeacherConfig(url=f"{recognizer.url}/v1", top_k=5))
    (places,) = server.ask([Question(prompt, said, True)])
    target = [*student.target(prompt, text, "English")[:-1], student.tokenizer.eos_token_id]
    assert [one.token for one in places] == target
    tokens = torch.tensor([target])
    with torch.no_grad():
        own = student.predictions(student.encode([prompt]), tokens, torch.ones_like(tokens))
        values, ids = own.top(1)
    assert [max(one.top, key=one.top.__getitem__) for one in places] == ids[:, 0].tolist()
    assert [max(one.top.values()) for one in places] == pytest.approx(values[:, 0].tolist(), abs=1e-3)
    assert all(len(one.top) >= 5 for one in places)


def test_the_expected_tokens_of_a_text_are_those_of_the_whole_forward_pass(reader, tmp_path):
    body = {"model": "reader", "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 1, "prompt_logprobs": 3}
    answer = httpx2.post(f"{reader.url}/v1/chat/completions", json=body).json()
    policy = load_policy(str(save_text_model(tmp_path)), torch.device("cpu"), torch.float32)
    ids = answer["prompt_token_ids"]
    with torch.no_grad():
        logprobs = policy.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    assert answer["prompt_logprobs"][0] is None
    for place in range(1, len(ids)):
        told = answer["prompt_logprobs"][place]
        best = logprobs[place - 1].topk(3).indices.tolist()
        assert set(told) == {str(i) for i in (ids[place], *best)}
        for token, one in told.items():
            assert one["logprob"] == pytest.approx(float(logprobs[place - 1, int(token)]), abs=1e-4)
        assert [told[str(i)]["rank"] for i in best] == [1, 2, 3]


def test_what_a_model_cannot_do_is_refused_in_words(recognizer, reader, clips):
    file = ("clip.wav", audio(clips[0][0]))
    with pytest.raises(openai.NotFoundError, match="'gpt' is not served here; ask for 'student'"):
        recognizer.openai.audio.transcriptions.create(model="gpt", file=file)
    with pytest.raises(openai.BadRequestError, match="a text model and takes no audio"):
        reader.openai.audio.transcriptions.create(model="reader", file=file)
    with pytest.raises(openai.BadRequestError, match="0 input_audio parts"):
        recognizer.openai.chat.completions.create(model="student", messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(openai.BadRequestError, match="presence_penalty: unknown field"):
        reader.openai.chat.completions.create(
            model="reader", messages=[{"role": "user", "content": "Hi"}], presence_penalty=1.0
        )


def test_what_operators_see(cli, recognizer):
    get = httpx2.get
    assert get(f"{recognizer.url}/health").json()["status"] == "ok"
    assert [one.id for one in recognizer.openai.models.list()] == ["student"]
    mask = get(f"{recognizer.url}/token-mask").json()
    assert {"<|audio_start|>", "<|audio_end|>", "<|im_start|>"} <= {one["token"] for one in mask["blocked"]}
    assert {"<|im_end|>"} <= {one["token"] for one in mask["stop"]}
    metrics = get(f"{recognizer.url}/metrics").text
    assert 'antiphon_engine_up{model="student"} 1' in metrics
    assert "/v1/chat/completions" in get(f"{recognizer.url}/openapi.json").json()["paths"]
    assert recognizer.port in [one["port"] for one in cli("serve", "status", "--json").json["servers"]]
    assert "Uvicorn running" in recognizer.log.read_text()
    assert "taken" not in cli("serve", "builtin:student", "--port", recognizer.port).out
    assert "choose another --port" in cli("serve", "builtin:student", "--port", recognizer.port).err


def test_sampling_at_temperature_zero_is_what_the_engine_does(reader, tmp_path):
    policy = load_policy(str(save_text_model(tmp_path)), torch.device("cpu"), torch.float32)
    prompt = Prompt("a", None, 0, "Why?")
    (completion,) = policy.sample(policy.encode([prompt]), 1, Sampling(0.0, 16))[0]
    answer = reader.openai.chat.completions.create(
        model="reader", messages=[{"role": "user", "content": "Why?"}], temperature=0, max_tokens=16
    )
    assert answer.choices[0].message.content == completion.text
