"""The sound card's input, through PortAudio."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from ark_asr.audio.capture import BLOCK_SECONDS, resampler
from ark_asr.errors import AudioError, MissingExtraError
from ark_asr.types import FloatArray

# Longer without any sound, not even silence: some drivers say nothing when a device is pulled out.
_PATIENCE = 10.0
# Of an interface with two sockets, either may be the one in use.
_MOST_CHANNELS = 2


class Microphone:
    """The sound card's input, mono: iterate over it, then close it.

    Blocks are float32 ``[n]`` at 16 kHz, the mean of the first two channels. If the device goes
    away, iterating gives what it has heard and then raises `AudioError`.

    Args:
        device: Number or part of the name, as `Microphone.devices` lists them; ``None`` for the
            system's own choice.

    Raises:
        MissingExtraError: The library for microphones is not installed.
        AudioError: There is no such device, or it cannot be opened.
    """

    def __init__(self, device: str | None = None) -> None:
        cards = _sounddevice()
        number, card = _chosen(cards, device)
        self._name = str(card["name"])
        self._closed = False
        self._blocks: queue.SimpleQueue[FloatArray | None] = queue.SimpleQueue()
        rate = float(card["default_samplerate"])
        self._resample = resampler(round(rate))
        try:
            self._stream = cards.InputStream(
                device=number,
                samplerate=rate,
                channels=min(int(card["max_input_channels"]), _MOST_CHANNELS),
                dtype="float32",
                blocksize=round(BLOCK_SECONDS * rate),
                callback=self._take,
                finished_callback=self._ended,
            )
            with ExitStack() as opened:
                opened.callback(self._stream.close)
                self._stream.start()
                opened.pop_all()
        except (ValueError, cards.PortAudioError) as error:
            reason = " ".join(str(error).split())
            raise AudioError(
                f"the microphone {self._name!r} cannot be opened ({reason}); "
                f"inputs: {_listed(cards)}"
            ) from None

    @staticmethod
    def devices() -> list[str]:
        """``number: name`` of every input; the system's own choice says so."""
        cards = _sounddevice()
        own = cards.default.device[0]
        return [
            f"{number}: {card['name']}" + (" (the system's choice)" if number == own else "")
            for number, card in _inputs(cards).items()
        ]

    def __iter__(self) -> Iterator[FloatArray]:
        while (block := self._next()) is not None:
            yield self._resample(block, False)
        yield self._resample(np.empty(0, np.float32), True)
        if not self._closed:
            raise AudioError(f"the microphone {self._name!r} is gone: no more sound comes from it")

    def close(self) -> None:
        """Switch it off; iteration ends."""
        self._closed = True
        self._stream.close()
        self._blocks.put(None)

    def _next(self) -> FloatArray | None:
        try:
            return self._blocks.get(timeout=_PATIENCE)
        except queue.Empty:
            return None

    def _take(self, samples: Any, *_: object) -> None:  # noqa: ANN401 - sounddevice is not typed
        # Called by the driver's own thread: nothing but a copy may happen here.
        self._blocks.put(samples.mean(axis=1, dtype=np.float32))

    def _ended(self) -> None:
        self._blocks.put(None)


def _inputs(cards: Any) -> dict[int, Any]:  # noqa: ANN401 - it is not typed
    found = enumerate(cards.query_devices())
    return {number: card for number, card in found if card["max_input_channels"] > 0}


def _listed(cards: Any) -> str:  # noqa: ANN401 - it is not typed
    return "; ".join(f"{number}: {card['name']}" for number, card in _inputs(cards).items())


def _chosen(cards: Any, device: str | None) -> tuple[int, Any]:  # noqa: ANN401 - it is not typed
    """Number and description of the wanted input."""
    inputs = _inputs(cards)
    if not inputs:
        raise AudioError("no microphone is known to the system")
    own = int(cards.default.device[0])
    if device is None:
        if own not in inputs:
            raise AudioError(f"the system has not chosen a microphone; name one: {_listed(cards)}")
        return own, inputs[own]
    if device.isdecimal():
        found = [int(device)] if int(device) in inputs else []
    else:
        found = _called(device, inputs)
    if len(found) > 1 and own in inputs:
        # Windows lists a device once for each of its interfaces.
        same = [n for n in found if inputs[n]["hostapi"] == inputs[own]["hostapi"]]
        found = same if len(same) == 1 else found
    if len(found) != 1:
        wrong = "several microphones are called" if found else "there is no microphone"
        raise AudioError(f"{wrong} {device!r}; inputs: {_listed(cards)}")
    return found[0], inputs[found[0]]


def _called(name: str, inputs: dict[int, Any]) -> list[int]:
    wanted = name.casefold()
    names = {number: str(card["name"]).casefold() for number, card in inputs.items()}
    whole = [number for number, known in names.items() if known == wanted]
    return whole or [number for number, known in names.items() if wanted in known]


def _sounddevice() -> Any:  # noqa: ANN401 - it is not typed
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise MissingExtraError("a microphone", "mic") from None
    except OSError:
        raise AudioError(
            "PortAudio is not installed, which microphones need; on Debian and Ubuntu: "
            "apt install libportaudio2"
        ) from None
    return sounddevice
