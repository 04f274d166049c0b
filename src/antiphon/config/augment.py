"""Recipe settings: what is done to training audio before the policy hears it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt, Strict, model_validator

from antiphon.config.settings import Fraction, Name, Settings, listed


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"must be the lowest and the highest value, got [{value[0]:g}, {value[1]:g}]")
    return value


Range = Annotated[tuple[float, float], Strict(False), AfterValidator(_rising)]
PositiveRange = Annotated[tuple[PositiveFloat, PositiveFloat], Strict(False), AfterValidator(_rising)]
Files = Annotated[list[Name], BeforeValidator(listed)]


class Effect(Settings):
    """What is done to some of the clips."""

    probability: Fraction = Field(default=0.5, description="Share of the clips, anew in each epoch.")


class Noise(Effect):
    """Background noise."""

    snr_db: Range = Field(default=(0.0, 20.0), description="Decibels of the speech's power over the noise's.")
    files: Files = Field(default=[], description="Recordings of noise, or folders of them; default: synthetic noise.")
    colors: list[Literal["white", "pink", "brown"]] = Field(
        default=["white", "pink", "brown"], min_length=1, description="Of synthetic noise."
    )


class Reverb(Effect):
    """A room."""

    rt60: PositiveRange = Field(default=(0.2, 0.8), description="Seconds in which a synthetic room falls by 60 dB.")
    files: Files = Field(default=[], description="Room impulse responses, or folders of them; default: synthetic.")


class Speed(Effect):
    """Faster or slower, and with it higher or lower."""

    factor: PositiveRange = Field(default=(0.9, 1.1), description="Times the original speed.")


class Codec(Effect):
    """What a lossy codec leaves."""

    names: list[Literal["ulaw", "gsm", "opus", "vorbis", "mp3"]] = Field(
        default=["ulaw", "gsm", "opus", "mp3"], min_length=1, description="Codecs to draw from."
    )


class Telephone(Effect):
    """The band of a telephone line, 300 to 3400 Hz."""


class Gain(Effect):
    """Louder or quieter."""

    db: Range = Field(default=(-10.0, 6.0), description="Decibels.")


class TimeMask(Effect):
    """Spans of silence."""

    spans: PositiveInt = Field(default=2, description="At most so many.")
    seconds: PositiveRange = Field(default=(0.02, 0.2), description="Length of each; at most a tenth of the clip.")


class FrequencyMask(Effect):
    """Bands without sound."""

    bands: PositiveInt = Field(default=2, description="At most so many.")
    hertz: PositiveRange = Field(default=(50.0, 500.0), description="Width of each.")


class Augment(Settings):
    """What the policy hears in training instead of the clip as it is. An effect is a mapping, {} for its defaults."""

    speed: Speed | None = Field(default=None, description="Change the speed.")
    reverb: Reverb | None = Field(default=None, description="Put the clip into a room.")
    noise: Noise | None = Field(default=None, description="Add noise.")
    codec: Codec | None = Field(default=None, description="Encode and decode it.")
    telephone: Telephone | None = Field(default=None, description="Keep the band of a telephone line.")
    gain: Gain | None = Field(default=None, description="Change the level.")
    time_mask: TimeMask | None = Field(default=None, description="Silence spans of time.")
    frequency_mask: FrequencyMask | None = Field(default=None, description="Silence bands of frequencies.")
    others_hear_it: bool = Field(
        default=False, description="Teachers and the reference model hear the same, not the clip as it is."
    )

    @model_validator(mode="after")
    def _something(self) -> Augment:
        if not any(value for name, value in self if name != "others_hear_it"):
            raise ValueError("has no effect; name one, such as {noise: {}}, or leave it out")
        return self
