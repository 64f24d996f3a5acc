"""Who spoke when: diarisation error and words under the right speaker, on joined real speech.

    pip install 'ark-asr[speakers]' pyannote-metrics
    python benchmarks/who_speaks.py SPEAKER_MODELS [--data ../shared/data] [--rttm OUT]

Recordings of two and three people are made of single utterances, so that the truth is known: the
people speak in turn, with pauses of 0.4 to 1.2 s between them or with none. Who speaks is known
from how a recording was made; where in an utterance speech is says Silero VAD, with pauses under
0.3 s counted as speech (as in NIST's Rich Transcription evaluations). Each recording is looked at
twice: with the number of people told, and without.

- error: missed + false alarm + confusion, over the time spoken (pyannote.metrics; without a
  collar, and with 0.25 s around each boundary left out)
- words: of those written within somebody's utterance, those that carry that person's name; names
  are paired with people as pyannote.metrics pairs them
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

import ark_asr
from ark_asr.audio import find_speech, load_audio
from ark_asr.models.speakers import SpeakerModels
from ark_asr.pipeline import Speakers, SpeakerTurn
from ark_asr.pipeline.diarize import Diarizer
from ark_asr.types import FloatArray

RATE = 16_000
SMOOTHED = 0.3  # seconds
COLLAR = 0.5  # both sides together, as pyannote.metrics counts it
PARTS = ("missed detection", "false alarm", "confusion", "total")


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """A recording and who truly speaks in it.

    Attributes:
        truth: Where speech is.
        spans: Utterances, with the pauses inside them.
    """

    name: str
    samples: FloatArray
    truth: tuple[SpeakerTurn, ...]
    spans: tuple[SpeakerTurn, ...]

    @property
    def people(self) -> int:
        return len({turn.speaker for turn in self.truth})


def utterances(data: Path) -> dict[str, dict[str, list[Path]]]:
    """Files by kind of speaker and speaker: native readers, and adults who learn the language."""
    corpus = data / "commands_and_sentences"
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for line in (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        native = row["source"].startswith("LibriSpeech")
        learner = row["source"] == "speechocean762" and row["split"] != "train"
        if 3 <= row["duration"] <= 9 and (native or (learner and row["age"] >= 18)):
            kind = "native readers" if native else "learners"
            found[kind][row["speaker"]].append(corpus / row["audio"])
    return found


def spoken(path: Path) -> tuple[FloatArray, list[list[float]]]:
    """An utterance from its first to its last speech, and where in it speech is, in seconds."""
    audio = load_audio(path)
    regions: list[list[float]] = []
    for region in find_speech([audio]):
        if regions and region.start - regions[-1][1] < SMOOTHED:
            regions[-1][1] = region.end
        else:
            regions.append([region.start, region.end])
    first, last = regions[0][0], regions[-1][1]
    cut = audio.samples[round(first * RATE) : round(last * RATE)]
    return cut, [[start - first, end - first] for start, end in regions]


def talks(data: Path, each: int, turns: int) -> Iterator[Talk]:
    """The same ones each time: ``each`` of every kind, number of people, and way of pausing."""
    for kind, speakers in utterances(data).items():
        chance = random.Random(kind)
        for people in (2, 3):
            for paused in (True, False):
                for number in range(each):
                    fit = sorted(who for who in speakers if len(speakers[who]) >= turns)
                    chosen = chance.sample(fit, people)
                    files = {who: chance.sample(sorted(speakers[who]), turns) for who in chosen}
                    pieces, truth, spans, at = [], [], [], 0.0
                    for turn in range(turns):
                        for who in chosen:
                            sound, regions = spoken(files[who][turn])
                            truth += [SpeakerTurn(at + a, at + b, who) for a, b in regions]
                            end = at + len(sound) / RATE
                            spans.append(SpeakerTurn(at, end, who))
                            gap = round(chance.uniform(0.4, 1.2) * RATE) if paused else 0
                            pieces += [sound, np.zeros(gap, np.float32)]
                            at = end + gap / RATE
                    name = f"{kind}, {people} people, {'pauses' if paused else 'no pauses'}"
                    samples = np.concatenate(pieces)
                    yield Talk(f"{name} ({number + 1})", samples, tuple(truth), tuple(spans))


def annotation(turns: tuple[SpeakerTurn, ...]) -> Annotation:
    made = Annotation()
    for number, turn in enumerate(turns):
        made[Segment(turn.start, turn.end), number] = turn.speaker
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, help="folder of segmentation.onnx and embedding.onnx")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="ark-mini")
    parser.add_argument("--each", type=int, default=1, help="recordings of each kind")
    parser.add_argument("--turns", type=int, default=3, help="utterances of each person")
    parser.add_argument("--only", default="", help="recordings whose name holds this text")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rttm", type=Path, help="write truth and what was found there")
    options = parser.parse_args()

    models = SpeakerModels.find(options.models)
    model = ark_asr.load(options.model, threads=options.threads)
    sums: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    print("recording                                  told  found  missed  false  confused  spoken"
          "   error  collar    words right")  # fmt: skip
    for number, talk in enumerate(talks(options.data, options.each, options.turns)):
        if options.only not in talk.name:
            continue
        heard = model.transcribe(
            talk.samples, replace(ark_asr.TranscribeOptions(), words=True), source_rate=RATE
        )
        for told in (talk.people, None):
            diarizer = Diarizer(models, count=told, threads=options.threads)
            turns = diarizer.turns(talk.samples, source_rate=RATE)
            row = score(talk, turns, heard.segments)
            way = "told" if told else "not told"
            sums[talk.name.rsplit(" (", 1)[0], way].append(row)
            sums["all", way].append(row)
            show(talk.name, told, row)
            if options.rttm:
                options.rttm.mkdir(parents=True, exist_ok=True)
                for title, some in (("truth", talk.truth), (way.replace(" ", "-"), turns)):
                    path = options.rttm / f"{number:02d}-{title}.rttm"
                    path.write_text(rttm(f"{number:02d}", some), encoding="utf-8")
    print()
    for (name, way), rows in sums.items():
        show(f"{name}, {len(rows)} recordings, {way}", None, np.sum(rows, axis=0), together=True)


def score(talk: Talk, turns: tuple[SpeakerTurn, ...], segments: tuple) -> np.ndarray:
    """Seconds missed, false, confused, spoken; the same with a collar; words right, all; people
    found, whether that is right, people."""  # fmt: skip
    truth, found = annotation(talk.truth), annotation(turns)
    whole = Timeline([Segment(0, len(talk.samples) / RATE)])
    values: list[float] = []
    for collar in (0.0, COLLAR):
        parts = DiarizationErrorRate(collar=collar)(truth, found, uem=whole, detailed=True)
        values += [parts[name] for name in PARTS]
    names = DiarizationErrorRate().optimal_mapping(truth, found)
    right = known = 0
    for segment in Speakers(turns).label(segments):
        for word in segment.words:
            middle = (word.start + word.end) / 2
            true = [turn.speaker for turn in talk.spans if turn.start <= middle < turn.end]
            known += len(true)
            right += names.get(word.speaker or segment.speaker) in true
    count = len({turn.speaker for turn in turns})
    return np.array([*values, right, known, count, count == talk.people, talk.people])


def show(name: str, told: int | None, row: np.ndarray, *, together: bool = False) -> None:
    missed, false, confused, spoken = row[:4]
    error, collar = sum(row[:3]) / spoken, sum(row[4:7]) / row[7]
    found = f"{row[11]:.0f} right" if together else f"{row[10]:.0f} of {row[12]:.0f}"
    print(f"{name:<42} {told or '-':>4} {found:>7} {missed:6.1f} {false:6.1f} {confused:8.1f} "
          f"{spoken:8.1f} {100 * error:6.1f}% {100 * collar:6.1f}% {row[8]:7.0f} of {row[9]:.0f}",
          flush=True)  # fmt: skip


def rttm(name: str, turns: tuple[SpeakerTurn, ...]) -> str:
    return "".join(
        f"SPEAKER {name} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> "
        f"{turn.speaker.replace(' ', '_')} <NA> <NA>\n"
        for turn in turns
    )


if __name__ == "__main__":
    main()
