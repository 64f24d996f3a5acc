"""How far live captions are behind, how well they hear, and what they cost, at the pace of speech.

    python benchmarks/live.py MANIFEST [--model NAME] [--minutes M] [--pause S] [--scripted]
        [--no-drafts] [--hotwords WORDS]
    python benchmarks/live.py MANIFEST --words-only [--minutes M] [--pause S]

Recordings of the manifest are joined with pauses of a second and fed as a microphone would give
them. When a word was spoken is read from the finished transcript's own word times, so what is
measured is the delay from there:

- settled: from the end of a word until it stands in settled text (and stays)
- final: from the end of the last word of an utterance until the utterance is finished

``--scripted`` makes any model write invented text at the speed of speech while it computes all it
would compute: for the cost of a size whose weights are not here.

``--no-drafts`` writes every utterance token by token, as if nothing of it had been heard before.

``--words-only`` feeds it as fast as it goes, without looks at unfinished utterances: for the words
of finals, which the pause decides.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from ark_asr import LiveEvent, LiveOptions, Recognizer, TranscribeOptions
from ark_asr.audio import load_audio
from ark_asr.decoding.hotwords import read_hot_words
from ark_asr.engines import load_model
from ark_asr.evaluation.schemes import get_scheme
from ark_asr.models.store import resolve
from ark_asr.pipeline import Pump, paced
from mini import processor

RATE = 16_000
PAUSE = 1.0
BLOCK = 0.1
TOKENS_PER_SECOND = 3.3
SURE = 15.0  # nats between what is written and the next best
WORDS = 200  # that many different ones are no loop


@dataclass(frozen=True)
class Seen:
    """An event, and the second of the stream at which it came."""

    at: float
    event: LiveEvent


class Scripted:
    """Computes everything, and then writes what it is told to.

    The n-th token of an utterance is always the same, so that looks agree as they do on clear
    speech. No two words are alike, or they would be taken for a loop and heard again.
    """

    def __init__(self, engine, tokenizer) -> None:
        self._engine, self._tokenizer = engine, tokenizer
        self.output_ids, self.max_positions = engine.output_ids, engine.max_positions
        known = (i for i in self.output_ids.tolist() if tokenizer.decode([i]).isalnum())
        space = tokenizer.encode(" ")[0]
        tokens = [token for word in islice(known, WORDS) for token in (space, word)]
        self._words = np.searchsorted(self.output_ids, tokens)
        self._end = np.searchsorted(self.output_ids, min(tokenizer.stop_ids))

    def embed_audio(self, mels):
        return self._engine.embed_audio(mels)

    def start(self, prompts, max_new_tokens):
        state = self._asked(self._engine.start(prompts, max_new_tokens), prompts)
        self._write(state.logits, state, state.positions)
        return state

    def step(self, state, token_ids):
        state = self._engine.step(state, token_ids)
        self._write(state.logits, state, state.positions)
        return state

    def verify(self, prompt, draft, max_new_tokens):
        state, logits = self._engine.verify(prompt, draft, max_new_tokens)
        state = self._asked(state, [prompt])
        self._write(logits, state, len(prompt.token_ids) + np.arange(len(logits)))
        return state, logits

    def rewind(self, state, position):
        return self._engine.rewind(state, position)

    def select(self, state, rows):
        asked, ends = state.asked[rows], state.ends[rows]
        state = self._engine.select(state, rows)
        state.asked, state.ends = asked, ends
        return state

    def close(self) -> None:
        self._engine.close()

    def _asked(self, state, prompts):
        slots = [len(prompt.audio) for prompt in prompts]
        state.asked = np.array([len(self._tokenizer.prompt(count)) for count in slots])
        state.ends = np.round(np.array(slots) * 0.08 * TOKENS_PER_SECOND)
        return state

    def _write(self, logits, state, positions):
        ends = np.broadcast_to(state.ends, len(logits))
        for row, count in enumerate(positions - state.asked):
            column = self._end if count >= ends[row] else self._words[count % len(self._words)]
            logits[row, column] = logits[row].max() + SURE


def joined(manifest: Path, seconds: float) -> tuple[np.ndarray, str]:
    """Sound and words."""
    sound, words = [np.zeros(RATE, np.float32)], []
    with manifest.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            begin, end = (row.get(key) for key in ("begin_time", "end_time"))
            begin, end = (float(at) if at and float(at) >= 0 else None for at in (begin, end))
            audio = load_audio(manifest.parent / row["audio"], begin=begin, end=end)
            sound += [audio.samples, np.zeros(round(PAUSE * RATE), np.float32)]
            words.append(row["text"])
            if sum(map(len, sound)) >= seconds * RATE:
                break
    return np.concatenate(sound), " ".join(words)


def caption(
    recognizer: Recognizer,
    sound: np.ndarray,
    live: LiveOptions,
    *,
    words: bool,
    hotwords: tuple[str, ...] = (),
) -> tuple[list[Seen], float]:
    """Events at the pace of speech, and the processor's seconds per second of sound."""
    session = recognizer.live(live, TranscribeOptions(words=words, hotwords=hotwords))
    step = round(BLOCK * RATE)
    blocks = [sound[first : first + step] for first in range(0, len(sound), step)]
    used, began, seen = time.process_time(), time.monotonic(), []
    with Pump(paced(blocks)) as pump:
        for block, waiting in pump:
            events = session.feed(block, waiting=waiting)
            seen += [Seen(time.monotonic() - began, event) for event in events]
    seen += [Seen(time.monotonic() - began, event) for event in session.finish()]
    return seen, (time.process_time() - used) / (len(sound) / RATE)


def delays(seen: list[Seen]) -> tuple[list[float], list[float], int, int]:
    """Delays of settled words and of finals; words settled before the final, and changed by it."""
    settled, finals, early, changed = [], [], 0, 0
    for number in {one.event.utterance for one in seen if one.event.kind == "final"}:
        *partials, final = (
            one for one in seen if one.event.utterance == number and one.event.kind != "silence"
        )
        words = [word for segment in final.event.segments for word in segment.words]
        said = final.event.settled.split()
        if not words or len(words) != len(said):
            continue
        before = partials[-1].event.settled.split() if partials else []
        early += len(before)
        changed += sum(a != b for a, b in zip(before, said, strict=False))
        changed += max(len(before) - len(said), 0)
        finals.append(final.at - words[-1].end)
        for place, word in enumerate(words):
            came = next(
                (
                    one.at
                    for one in partials
                    if one.event.settled.split()[: place + 1] == said[: place + 1]
                ),
                final.at,
            )
            settled.append(came - word.end)
    return settled, finals, early, changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="ark-mini")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pause", type=float, default=LiveOptions().pause)
    parser.add_argument("--scripted", action="store_true")
    parser.add_argument("--no-drafts", action="store_true")
    parser.add_argument("--hotwords", help="as of `ark-asr live`")
    parser.add_argument("--words-only", action="store_true")
    options = parser.parse_args()
    sound, reference = joined(options.manifest, options.minutes * 60)
    folder = resolve(options.model)
    engine, tokenizer = load_model(folder, threads=options.threads)
    if options.scripted:
        engine = Scripted(engine, tokenizer)
    if options.no_drafts:
        engine.verify = None
    if options.words_only:
        with Recognizer(engine, tokenizer, folder.name) as recognizer:
            finals = finals_only(recognizer, sound, options.pause)
        print(f"{folder.name}, {len(sound) / RATE:.0f} s of {options.manifest.stem}, "
              f"pause {options.pause:g} s, {len(finals)} utterances")  # fmt: skip
        score("live", " ".join(event.settled for event in finals), reference)
        return
    with Recognizer(engine, tokenizer, folder.name) as recognizer:
        live = LiveOptions(pause=options.pause)
        hotwords = read_hot_words(options.hotwords) if options.hotwords else ()
        seen, share = caption(
            recognizer, sound, live, words=not options.scripted, hotwords=hotwords
        )
        offline = recognizer.transcribe(sound, source_rate=RATE).text
    partials = [one.event for one in seen if one.event.kind == "partial"]
    finals = [one.event for one in seen if one.event.kind == "final"]
    print(f"{folder.name}{' (scripted text)' if options.scripted else ''}, "
          f"{len(sound) / RATE:.0f} s of {options.manifest.stem}, {len(finals)} utterances; "
          f"pause {options.pause:g} s; {processor()}, {options.threads} threads")  # fmt: skip
    print(f"processor: {100 * share:.0f} % of one core; most memory "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")  # fmt: skip
    behind = sum(event.behind for event in (*partials, *finals))
    print(f"looks: {len(partials)}, {len(partials) / (len(sound) / RATE):.2f} a second; events "
          f"while the machine was too slow: {behind}")  # fmt: skip
    for name, kinds in (("events", ("partial", "final")), ("finals", ("final",))):
        lags = [one.event.lag for one in seen if one.event.kind in kinds]
        print(f"lag of {name}: median {np.median(lags):.2f} s, 95 % within "
              f"{np.quantile(lags, 0.95):.2f} s, longest {max(lags):.2f} s")  # fmt: skip
    if options.scripted:
        return
    settled, ends, early, changed = delays(seen)
    for name, values in (("word settled", settled), ("final", ends)):
        print(f"{name}: {len(values)}, median {np.median(values):.2f} s after its end, 95 % "
              f"within {np.quantile(values, 0.95):.2f} s")  # fmt: skip
    print(f"settled before the final: {early} words, of which the final changed {changed}")
    score("live", " ".join(event.settled for event in finals), reference)
    score("offline", offline, reference)


def score(name: str, text: str, reference: str) -> None:
    row = get_scheme("basic").score(reference, text)
    print(f"{name}: WER {100 * row.wer_errors / row.ref_words:.1f} % "
          f"({row.wer_errors:.0f} of {row.ref_words} words)")  # fmt: skip


def finals_only(recognizer: Recognizer, sound: np.ndarray, pause: float) -> list[LiveEvent]:
    """Finished utterances, as fast as it goes."""
    session = recognizer.live(LiveOptions(pause=pause, step=1e6))
    events = [
        event
        for first in range(0, len(sound), RATE)
        for event in session.feed(sound[first : first + RATE])
    ]
    return [event for event in [*events, *session.finish()] if event.kind == "final"]


if __name__ == "__main__":
    main()
