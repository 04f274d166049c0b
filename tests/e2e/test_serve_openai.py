"""What the server answers is what OpenAI's client says an answer is, for models of every family."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
import tiny_classifier
import torch
from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from serving import Served, say, served, text_policy

from antiphon.data.corpora.sets import builtin_set
from antiphon.models.classifier import Classifier
from antiphon.models.load import load_policy

RATE = 16000
CHAT, TRANSCRIBE = "/v1/chat/completions", "/v1/audio/transcriptions"


def client_of(server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def builtin(name: str) -> Any:
    return load_policy(f"builtin:{name}", torch.device("cpu"), torch.float32)


def wav(waveform: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.fixture(scope="module")
def reader() -> Iterator[Served]:
    with served(text_policy()) as server:
        yield server


@pytest.fixture(scope="module")
def student() -> Iterator[Served]:
    with served(builtin("student")) as server:
        yield server


@pytest.fixture(scope="module")
def spoken() -> tuple[np.ndarray, str]:
    """A clip that every built-in recognizer gets right, and what is said in it."""
    example = builtin_set("digits-clean")[1]
    assert example.clip is not None
    return example.clip.load(RATE), example.text


def post(server: Served, path: str, status: int = 200, **request: Any) -> Any:
    with server.client() as client:
        answer = client.post(path, **request)
    assert answer.status_code == status, answer.text
    return answer


def events(answer: Any) -> list[dict[str, Any]]:
    *lines, last = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert last == "[DONE]"
    return [json.loads(line) for line in lines]


def test_every_form_of_a_transcript_is_the_clients_own(student, spoken):
    file = {"file": ("clip.wav", wav(spoken[0]))}
    plain = Transcription.model_validate(post(student, TRANSCRIBE, files=file).json(), strict=True)
    form = {"response_format": "verbose_json", "timestamp_granularities[]": "segment", "chunking_strategy": "auto"}
    verbose = TranscriptionVerbose.model_validate(post(student, TRANSCRIBE, files=file, data=form).json(), strict=True)
    assert plain.text == verbose.text == spoken[1]
    assert verbose.segments
    assert [one.no_speech_prob for one in verbose.segments] == [0.0]
    assert plain.usage.seconds == verbose.usage.seconds == math.ceil(len(spoken[0]) / RATE)
    *deltas, done = events(post(student, TRANSCRIBE, files=file, data={"stream": "true"}))
    told = "".join(TranscriptionTextDeltaEvent.model_validate(one, strict=True).delta for one in deltas)
    assert told == TranscriptionTextDoneEvent.model_validate(done, strict=True).text == spoken[1]


def test_subtitles_have_a_cue_for_each_spoken_piece(student, spoken):
    pause = np.zeros(RATE * 3, np.float32)
    transcriptions, file = client_of(student).audio.transcriptions, wav(np.concatenate([spoken[0], pause, spoken[0]]))
    verbose = transcriptions.create(model="tiny", file=file, response_format="verbose_json")
    assert len(verbose.segments) == 2
    srt = transcriptions.create(model="tiny", file=file, response_format="srt")
    cue = r"(\d+)\n(\d\d):(\d\d):(\d\d),(\d{3}) --> (\d\d):(\d\d):(\d\d),(\d{3})\n(.+)\n\n"
    cues = re.findall(cue, srt)
    assert "".join(re.sub(cue, "", srt)) == ""
    for i, (number, *clock, text) in enumerate(cues):
        hours, minutes, seconds, milliseconds = map(int, clock[:4])
        begin = 3600 * hours + 60 * minutes + seconds + milliseconds / 1000
        assert (int(number), text) == (i + 1, verbose.segments[i].text)
        assert begin == pytest.approx(verbose.segments[i].start, abs=1e-3)
    vtt = transcriptions.create(model="tiny", file=file, response_format="vtt")
    assert vtt == "WEBVTT\n\n" + re.sub(r"(?m)^\d+\n(.*)$", lambda cue: cue[1].replace(",", "."), srt)


def test_what_a_form_does_not_know_is_refused(student):
    file = ("clip.wav", wav(np.zeros(RATE, np.float32)))
    transcriptions = client_of(student).audio.transcriptions
    with pytest.raises(openai.BadRequestError, match="'diarize': unknown field; there are: chunking"):
        transcriptions.create(model="tiny", file=file, extra_body={"diarize": "true"})
    with pytest.raises(openai.BadRequestError, match="start the server with --aligner"):
        transcriptions.create(model="tiny", file=file, response_format="verbose_json", timestamp_granularities=["word"])
    with pytest.raises(openai.BadRequestError, match="needs response_format=verbose_json"):
        transcriptions.create(model="tiny", file=file, timestamp_granularities=["segment"])
    with pytest.raises(openai.BadRequestError, match="response_format srt cannot be streamed"):
        transcriptions.create(model="tiny", file=file, response_format="srt", stream=True)
    refused = post(student, "/asr", 400, files={"file": file}, data={"temperature": "1"})
    assert refused.json()["error"]["message"] == "'temperature': unknown field; there are: file, max_new_tokens"


def test_a_chat_with_a_clip_streams(student, spoken):
    clip = {"data": base64.b64encode(wav(spoken[0])).decode(), "format": "wav"}
    request = {
        "model": "tiny",
        "messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": clip}]}],
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 2,
        "extra_body": {"return_token_ids": True},
    }
    chat = client_of(student).chat.completions
    whole = chat.create(**request)
    assert whole.choices[0].message.content == f"language English<asr_text>{spoken[1]}"
    chunks = list(chat.create(**request, stream=True))
    assert "".join(one.choices[0].delta.content or "" for one in chunks) == whole.choices[0].message.content
    assert chunks[0].prompt_token_ids == whole.prompt_token_ids
    assert len(whole.prompt_token_ids) == whole.usage.prompt_tokens
    parts = [one.choices[0] for one in chunks[1:]]
    assert [token for part in parts for token in part.token_ids] == whole.choices[0].token_ids
    assert [place for part in parts for place in part.logprobs.content] == whole.choices[0].logprobs.content


def test_every_form_of_an_answer_is_the_clients_own(reader):
    body = say("Why?", max_tokens=6, temperature=1.0, seed=1, n=2, logprobs=True, top_logprobs=3)
    whole = ChatCompletion.model_validate(post(reader, CHAT, json=body).json(), strict=True)
    for choice in whole.choices:
        assert choice.logprobs
        assert choice.logprobs.content
        assert len(choice.logprobs.content) == 6
        for place in choice.logprobs.content:
            best = [one.logprob for one in place.top_logprobs]
            assert best == sorted(best, reverse=True)
            assert len(best) == 3
            assert place.logprob <= best[0]
            assert place.bytes is None or bytes(place.bytes).decode() == place.token
    options = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = events(post(reader, CHAT, json=body | options))
    chunks = [ChatCompletionChunk.model_validate(one, strict=True) for one in streamed]
    for index, choice in enumerate(whole.choices):
        parts = [one for chunk in chunks for one in chunk.choices if one.index == index]
        assert "".join(one.delta.content or "" for one in parts) == choice.message.content
        assert [one.finish_reason for one in parts if one.finish_reason] == [choice.finish_reason]
    assert chunks[-1].usage == whole.usage


def test_a_seed_says_what_is_drawn_and_the_number_of_answers_does_not(reader):
    def drawn(**more: Any) -> list[str]:
        body = say("Why?", max_tokens=9, temperature=1.0, **more)
        return [one["message"]["content"] for one in post(reader, CHAT, json=body).json()["choices"]]

    three = drawn(seed=5, n=3)
    assert len(set(three)) == 3
    assert drawn(seed=5, n=3) == three
    assert drawn(seed=5) == three[:1]
    assert drawn(seed=6) != three[:1]
    assert drawn() != drawn()


def test_token_ids_are_told_without_log_probabilities(reader):
    answer = post(reader, CHAT, json=say("Why?", max_tokens=5, return_token_ids=True)).json()
    assert len(answer["prompt_token_ids"]) == answer["usage"]["prompt_tokens"]
    assert len(answer["choices"][0]["token_ids"]) == 5
    assert "prompt_logprobs" not in answer
    assert reader.service.decoded(answer["prompt_token_ids"]).count("Why?") == 1


def test_the_newer_name_of_the_longest_answer_counts(reader):
    answer = post(reader, CHAT, json=say("Why?", max_tokens=9, max_completion_tokens=4)).json()
    assert answer["usage"]["completion_tokens"] == 4
    assert answer["choices"][0]["finish_reason"] == "length"


def test_an_answer_ends_before_a_stop(reader):
    body = say("Tell me all.", max_tokens=120, return_token_ids=True)
    (free,) = post(reader, CHAT, json=body).json()["choices"]
    text = free["message"]["content"]
    # Two neighbors somewhere in the middle, so that a stop spans tokens: the tokenizer's are bytes.
    stop = next(pair for pair in re.findall(r"(?=([ -~]{2}))", text[20:]) if text.index(pair) > 10)
    wanted = text[: text.index(stop)]
    for stops in (stop, ["never said", stop], [stop, "!" * 9]):
        (choice,) = post(reader, CHAT, json=body | {"stop": stops}).json()["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == (wanted, "stop")
        assert choice["token_ids"] == free["token_ids"][: len(choice["token_ids"])]
        assert reader.service.decoded(choice["token_ids"]).endswith(stop)
        chunks = events(post(reader, CHAT, json=body | {"stop": stops, "stream": True}))
        parts = [one for chunk in chunks for one in chunk["choices"]]
        assert "".join(one["delta"].get("content", "") for one in parts) == wanted
        assert [one["finish_reason"] for one in parts if one["finish_reason"]] == ["stop"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"stop": ["a", "b", "c", "d", "e"]}, "at most 4"),
        ({"stop": ""}, "at least 1 character"),
        ({"top_logprobs": 2}, "top_logprobs needs logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options needs stream"),
        ({"stream": True, "prompt_logprobs": 0}, "prompt_logprobs cannot be streamed"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools: unknown field"),
        ({"n": 17}, "less than or equal to 16"),
    ],
)
def test_what_a_chat_cannot_have_is_refused(reader, body, message):
    assert message in post(reader, CHAT, 400, json=say("x", **body)).json()["error"]["message"]


@pytest.mark.parametrize("name", ["whisper", "wav2vec2"])
def test_other_recognizers_transcribe(name, spoken):
    with served(builtin(name)) as server:
        file = {"file": ("clip.wav", wav(spoken[0]))}
        assert post(server, TRANSCRIBE, files=file).json()["text"].lower() == spoken[1]
        verbose = post(server, TRANSCRIBE, files=file, data={"response_format": "verbose_json"}).json()
        TranscriptionVerbose.model_validate(verbose, strict=True)
        *deltas, done = events(post(server, TRANSCRIBE, files=file, data={"stream": "true"}))
        assert "".join(one["delta"] for one in deltas) == done["text"] == verbose["text"]
        refused = post(server, CHAT, 400, json=say("Hello."))
        assert "does not chat; use /v1/audio/transcriptions" in refused.json()["error"]["message"]
        refused = post(server, TRANSCRIBE, 400, files=file, data={"prompt": "Digits."})
        assert "takes no prompt" in refused.json()["error"]["message"]
        assert all("prompt" not in one["accepts"] for one in server.client().get("/v1/models").json()["data"])


def test_a_classifier_answers_with_a_label():
    with served(Classifier(*tiny_classifier.wav2vec2_layer())) as server:
        file = {"file": wav(np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32))}
        assert post(server, TRANSCRIBE, files=file).json()["text"] in tiny_classifier.LABELS
        assert post(server, "/asr", files=file).json()["text"] in tiny_classifier.LABELS
