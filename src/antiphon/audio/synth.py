"""Speech synthesis with eSpeak NG, in process: about 2 ms per clip, and deterministic.

The engine is GPL-3 and comes with the wheel `espeakng-loader`, an optional extra that nothing else depends on.
"""

from __future__ import annotations

import _ctypes
import ctypes
import threading
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr

from antiphon.errors import AudioError, MissingExtraError
from antiphon.types import Hertz

_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_DO_NOT_EXIT = 0x8000
_RATE, _PITCH = 1, 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_lock = threading.Lock()


@lru_cache(maxsize=1)
def _engine_paths() -> tuple[str, bytes]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise MissingExtraError("the built-in speech", "espeakng-loader", "synth") from error
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path().encode()


def synthesize(text: str, voice: str, rate: Hertz, words_per_minute: int = 170, pitch: int = 50) -> np.ndarray:
    """Synthesize `text`; returns mono float32 [samples] at `rate` Hz.

    `voice` is an eSpeak NG voice file with an optional variant, such as "gmw/en-US+f3"; `pitch` is 0 to 99.
    The library keeps its oscillators' phases in static variables, so a clip would depend on earlier ones. Each call
    therefore loads the library anew (its pages stay cached), so that the result depends on the arguments only.

    Raises `MissingExtraError` without the extra `synth`, `AudioError` for a voice that does not exist.
    """
    library_path, data_path = _engine_paths()
    pieces: list[np.ndarray] = []

    @_CALLBACK
    def collect(samples, count, _events):
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    with _lock:
        library = ctypes.CDLL(library_path)
        try:
            native_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path, _DO_NOT_EXIT)
            if native_rate <= 0:
                raise AudioError("the synthesizer does not start; reinstall it: pip install 'antiphon[synth]'")
            library.espeak_SetSynthCallback(collect)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            if not _has_variant(data_path, voice) or library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise AudioError(f"the synthesizer has no voice {voice!r}; see antiphon.audio.voices.VOICES")
            library.espeak_SetParameter(_RATE, words_per_minute, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            encoded = text.encode()
            library.espeak_Synth(encoded, len(encoded) + 1, 0, _CHARS_UTF8, 0, _CHARS_UTF8, None, None)
            library.espeak_Synchronize()
            library.espeak_Terminate()
        finally:
            _unload(library)
    if not any(piece.any() for piece in pieces):
        raise AudioError(f"the synthesizer made no sound for {text!r}; give a text with words")
    speech = np.concatenate(pieces).astype(np.float32) / 32768.0
    return soxr.resample(speech, native_rate, rate).astype(np.float32)


def _has_variant(data_path: bytes, voice: str) -> bool:
    """Whether the variant after "+" exists; the library ignores unknown ones."""
    variant = voice.partition("+")[2]
    return not variant or (Path(data_path.decode()) / "voices" / "!v" / variant).is_file()


def _unload(library: ctypes.CDLL) -> None:
    close = getattr(_ctypes, "dlclose", None) or getattr(_ctypes, "FreeLibrary")  # noqa: B009
    close(library._handle)
