"""Live captions over real WebSockets: our own and OpenAI's, the latter by the official client."""

from __future__ import annotations

import base64
import json
import logging
import socket
import struct
import time
import tracemalloc
from contextlib import suppress

import numpy as np
import openai
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from ark_asr.audio import load_audio
from ark_asr.server.keys import add_key
from ark_asr.server.problems import Problem
from ark_asr.server.stream import Stream
from ark_asr.types import LiveOptions
from ark_asr.writers.events import event_record
from serving import PATIENCE, eventually, serving

# What the official client does with the installed websockets is not ours to mend.
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used:DeprecationWarning")


@pytest.fixture(scope="module")
def pcm(talk):
    return (load_audio(talk).samples * 32768).astype("<i2").tobytes()


SPOKEN_FIVE = {"audio": {"input": {"transcription": {"language": 5}}}}


def url(served, path="/live"):
    return f"ws://127.0.0.1:{served.port}{path}"


def captions(served, data, *, path="/live", size=3201, first=()):
    """All events of some samples, sent in pieces that split samples in two."""
    with connect(url(served, path)) as socket:
        for message in first:
            socket.send(message)
        for first in range(0, len(data), size):
            socket.send(data[first : first + size])
        socket.send('{"type": "end"}')
        return [json.loads(message) for message in socket]


def finals(events):
    return [event["settled"] for event in events if event["kind"] == "final"]


def test_live_says_what_a_session_of_the_library_says(served, recognizer, pcm):
    events = captions(served, pcm)
    session = recognizer.live()
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    ours = [event_record(event) for event in [*session.feed(samples), *session.finish()]]
    assert finals(events) == finals(ours)
    assert [(e["start"], e["end"]) for e in events if e["kind"] == "final"] == [
        (e["start"], e["end"]) for e in ours if e["kind"] == "final"
    ]


def test_other_rates_are_resampled(served, talk, pcm):
    fast = (load_audio(talk, sample_rate=48_000).samples * 32767).astype("<i2").tobytes()
    found = finals(captions(served, fast, path="/live?rate=48000", size=96_000))
    assert len(found) == len(finals(captions(served, pcm)))


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/live?rate=5", "8,000"), ("/live?step=x", "no number"), ("/live?speed=2", "not known")],
)
def test_bad_settings_close_with_the_reason(served, path, reason):
    with connect(url(served, path)) as socket, pytest.raises(ConnectionClosedError, match=reason):
        socket.recv(timeout=PATIENCE)


def test_how_utterances_are_found(served, pcm):
    usual = finals(captions(served, pcm))
    assert len(finals(captions(served, pcm, path="/live?max_utterance=1"))) > len(usual)
    (first, *_) = captions(served, pcm, path="/live?lead=0&threshold=0.9")
    assert first["start"] > captions(served, pcm)[0]["start"]


HOT = '{"type": "hotwords", "hotwords": "kink :50, "}'


def test_hot_words_come_before_the_sound(served, pcm):
    assert "kink" not in " ".join(finals(captions(served, pcm)))
    assert "kink" in " ".join(finals(captions(served, pcm, first=[HOT])))
    with connect(url(served)) as socket:
        socket.send(pcm[:3200])
        socket.send(HOT)
        with pytest.raises(ConnectionClosedError, match="before the first sound"):
            list(iter(lambda: socket.recv(timeout=PATIENCE), None))


def test_what_is_no_hot_word_closes_with_the_reason(served):
    with connect(url(served)) as socket:
        socket.send('{"type": "hotwords", "hotwords": "kink :no"}')
        with pytest.raises(ConnectionClosedError, match="'kink :no' is not a word and"):
            socket.recv(timeout=PATIENCE)


MANY = ["abcdefg" * 64] * 147


def test_more_hot_words_than_the_engine_has_time_for_are_refused(served, client, hello):
    with connect(url(served)) as socket:
        socket.send(json.dumps({"type": "hotwords", "hotwords": ",".join(MANY)}))
        with pytest.raises(ConnectionClosedError, match="hotwords: have 65,856 characters"):
            socket.recv(timeout=PATIENCE)
    with client.realtime.connect(model="ark-mini") as connection:
        connection.recv()
        input_ = {"transcription": {"keywords": MANY}}
        connection.session.update(session={"type": "transcription", "audio": {"input": input_}})
        assert "keywords: have 65,856 characters" in connection.recv().error.message
        input_ = {"transcription": {"keywords": MANY[1:]}}
        connection.session.update(session={"type": "transcription", "audio": {"input": input_}})
        assert connection.recv().type == "session.updated"
    with pytest.raises(openai.BadRequestError, match="hotwords: have 66,001 characters"):
        client.audio.transcriptions.create(
            file=hello,
            model="ark-mini",
            extra_body={"keywords": [",".join(MANY[:74]), ",".join(MANY[74:])]},
        )


def test_keywords_of_a_realtime_session_are_hot_words(client, pcm):
    with client.realtime.connect(model="ark-mini") as connection:
        connection.recv()
        input_ = {
            "format": {"type": "audio/pcm", "rate": 16000},
            "transcription": {"keywords": ["woods :50"]},
        }
        connection.session.update(session={"type": "transcription", "audio": {"input": input_}})
        assert connection.recv().session.audio.input.transcription.keywords == ["woods :50"]
        append(connection, pcm)
        connection.input_audio_buffer.commit()
        done = until(connection, "conversation.item.input_audio_transcription.completed")
    assert "woods" in done[-1].transcript


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "[" * 60_000,
        '{"type": "end", "when": 1}',
        '{"type": "hotwords", "hotwords": ["a"]}',
        "[1]",
    ],
)
def test_other_text_closes_with_the_reason(served, text):
    with connect(url(served)) as socket:
        socket.send(text)
        with pytest.raises(ConnectionClosedError, match="only"):
            socket.recv(timeout=PATIENCE)


def test_pages_of_others_stay_out(served):
    with pytest.raises(InvalidStatus), connect(url(served), origin="https://evil.example"):
        pass


def test_who_has_no_key_stays_out(tmp_path):
    """A key comes in a header, or among the protocols, because browsers can set no header."""
    key = add_key(tmp_path / "keys", "ann")
    with serving(keys=tmp_path / "keys") as served:
        for path in ("/live", "/v1/realtime"):
            name = path.rpartition("/")[2]
            for wrong in ({}, {"subprotocols": [name, f"openai-insecure-api-key.{key}x"]}):
                with pytest.raises(InvalidStatus), connect(url(served, path), **wrong):
                    pass
            header = {"additional_headers": {"Authorization": f"Bearer {key}"}}
            with connect(url(served, path), **header):
                pass
            protocols = {"subprotocols": [name, f"openai-insecure-api-key.{key}"]}
            with connect(url(served, path), **protocols) as connection:
                assert connection.subprotocol == name


def test_live_sound_counts_where_its_work_does(served, pcm):
    """Otherwise the real-time factor of the figures would divide all work by the uploads alone."""
    assert eventually(served.at_rest)
    scheduler = served.scheduler
    work, sound = scheduler.busy, scheduler.understood
    captions(served, pcm)
    seconds = pytest.approx(len(pcm) / 2 / 16_000)
    assert eventually(lambda: scheduler.understood - sound == seconds)
    assert scheduler.busy > work


def test_who_leaves_is_forgotten(served, pcm):
    with connect(url(served)) as socket:
        socket.send(pcm)
    captions(served, pcm[:32_000])
    assert eventually(lambda: served.scheduler.live == 0)


def hang_up(connection):
    """Leave without a word, as when the machine is switched off."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


def test_who_leaves_after_nonsense_is_no_error_of_the_server(served, caplog):
    assert eventually(served.at_rest)  # what others said before is logged
    with served.standing(), caplog.at_level(logging.INFO):
        for _ in range(3):
            with connect(url(served)) as connection:
                connection.send("hello")
                hang_up(connection)
        assert eventually(lambda: len(endings(caplog)) == 3)
    assert endings(caplog) == ["101"] * 3


def test_who_leaves_after_a_commit_is_no_error_of_the_server(served, pcm, caplog):
    assert eventually(served.at_rest)
    with caplog.at_level(logging.INFO), connect(url(served, "/v1/realtime")) as connection:
        connection.recv(timeout=PATIENCE)
        with served.standing_calls() as go_on:
            connection.send(appended(pcm[:256_000]))
            connection.send('{"type": "input_audio_buffer.commit"}')
            time.sleep(0.2)  # it waits for the engine
            hang_up(connection)
            time.sleep(0.2)
            go_on.set()
        assert eventually(lambda: endings(caplog))
    assert endings(caplog) == ["101"]
    assert served.scheduler.live == 0


def endings(caplog):
    """Statuses with which WebSockets have ended."""
    ends = ("/live", "/v1/realtime")
    return [str(r.status) for r in caplog.records if getattr(r, "route", "") in ends]


def appended(data):
    audio = base64.b64encode(data).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


def test_sound_that_is_refused_is_not_kept(served):
    service, second = served.app.state.service, 2 * 16_000
    stream = Stream(service, service.host.first.loaded, 16_000, LiveOptions())
    stream.feed(bytes(50 * second))
    for _ in range(3):
        with pytest.raises(Problem, match="more than 60 s"):
            stream.feed(bytes(20 * second))
    assert stream.lag == 50.0


def test_sound_waits_as_one_piece_however_it_came(served):
    """What is done for each message must not grow with the number of those that wait."""
    service, count = served.app.state.service, 5_000
    stream = Stream(service, service.host.first.loaded, 16_000, LiveOptions())
    tracemalloc.start()
    try:
        for _ in range(count):
            stream.feed(bytes(2))
        room, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stream.lag == count / 16_000
    assert room < 2 * 4 * count + 10_000


def test_sound_that_is_over_may_be_ended_once_more(served):
    """By its client, just when it had sent nothing for too long."""
    service = served.app.state.service
    stream = Stream(service, service.host.first.loaded, 24_000, LiveOptions())
    stream.feed(bytes(4_800))
    stream.finish()
    lag = stream.lag
    stream.finish()
    assert stream.lag == lag


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ('{"type": "input_audio_buffer.append", "audio": "ää"}', "base64"),
        ("[" * 60_000, "must be text"),
        ('{"type": "response.create", "event_id": "\\ud800"}', "is not known"),
        ('{"type": "session.update", "session": {"\\ud800": 1}}', "is not known"),
        (
            json.dumps({"type": "session.update", "session": SPOKEN_FIVE}),
            "language",
        ),
    ],
)
def test_nonsense_is_named_and_not_an_error_of_the_server(served, message, told):
    with connect(url(served, "/v1/realtime")) as connection:
        connection.recv(timeout=PATIENCE)
        connection.send(message)
        error = json.loads(connection.recv(timeout=PATIENCE))["error"]
        assert error["type"] == "invalid_request_error"
        assert told in error["message"]


def test_sound_after_a_failure_of_the_engine_begins_anew(served, pcm, monkeypatch):
    with connect(url(served, "/v1/realtime")) as connection:
        connection.recv(timeout=PATIENCE)
        with monkeypatch.context() as broken:
            broken.setattr(served.scheduler, "call", lambda _: 1 / 0)
            connection.send(appended(pcm[:32_000]))
            event = json.loads(connection.recv(timeout=PATIENCE))
            assert event["error"]["code"] == "internal_error"
        connection.send(appended(pcm[:256_000]))
        assert json.loads(connection.recv(timeout=PATIENCE))["type"].endswith("speech_started")


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
        yield client


def append(connection, data, size=24_000):
    for first in range(0, len(data), size):
        audio = base64.b64encode(data[first : first + size]).decode()
        connection.input_audio_buffer.append(audio=audio)


def until(connection, kind):
    events = []
    for event in connection:
        events.append(event)
        if event.type in (kind, "error"):
            return events
    raise AssertionError("closed")


def test_a_realtime_session_of_the_official_client(served, client, pcm):
    with client.realtime.connect(model="ark-mini") as connection:
        assert connection.recv().type == "session.created"
        connection.session.update(session={
            "type": "transcription",
            "audio": {"input": {
                "format": {"type": "audio/pcm", "rate": 16000},
                "transcription": {"model": "whisper-1", "language": "en"},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 400},
            }},
        })  # fmt: skip
        updated = connection.recv()
        assert updated.type == "session.updated"
        assert updated.session.audio.input.format.rate == 16000
        append(connection, pcm)
        connection.input_audio_buffer.commit()
        events = []
        wanted = finals(captions(served, pcm))
        while sum(event.type == "conversation.item.done" for event in events) < len(wanted):
            events += until(connection, "conversation.item.done")
            assert events[-1].type != "error", events[-1]
    kinds = [event.type.rpartition(".")[2] for event in events]
    items = list(dict.fromkeys(e.item_id for e in events if hasattr(e, "item_id")))
    assert len(items) == len(wanted)
    completed = [e for e in events if e.type.endswith("transcription.completed")]
    assert [event.transcript for event in completed] == wanted
    assert [event.item_id for event in completed] == items
    committed = [e for e in events if e.type.endswith("committed")]
    assert [event.previous_item_id for event in committed] == [None, *items[:-1]]
    started = [e.audio_start_ms for e in events if e.type.endswith("speech_started")]
    stopped = [e.audio_end_ms for e in events if e.type.endswith("speech_stopped")]
    assert all(first < end for first, end in zip(started, stopped, strict=True))
    assert "delta" in kinds
    for event in completed:
        deltas = "".join(
            e.delta for e in events if e.type.endswith(".delta") and e.item_id == event.item_id
        )
        words = event.transcript.split()
        assert deltas == event.transcript or deltas.split()[:1] == words[:1] or deltas == ""


def test_without_turn_detection_a_commit_alone_ends_an_item(client, recognizer, pcm):
    """As clients ask for that find the ends of utterances by themselves, and at a push to talk."""
    session = recognizer.live(LiveOptions(pause=1.0, step=10.0))
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    heard = [*session.feed(samples), *session.finish()]
    wanted = [event.settled for event in heard if event.kind == "final"]
    assert len(wanted) > 1
    silence = bytes(2 * 16_000)
    with client.realtime.connect(model="ark-mini") as connection:
        connection.recv()
        input_ = {"format": {"type": "audio/pcm", "rate": 16000}, "turn_detection": None}
        connection.session.update(session={"type": "transcription", "audio": {"input": input_}})
        assert connection.recv().session.audio.input.turn_detection is None
        append(connection, pcm[:64_000])
        connection.input_audio_buffer.clear()  # what was thrown away is in no item
        assert connection.recv().type == "input_audio_buffer.cleared"
        told = []
        for sound in (pcm, silence):
            append(connection, sound)
            connection.input_audio_buffer.commit()
            told.append(until(connection, "conversation.item.done"))
        input_ = {"turn_detection": {"type": "server_vad"}}
        connection.session.update(session={"type": "transcription", "audio": {"input": input_}})
        turns = connection.recv().session.audio.input.turn_detection
        assert (turns.type, turns.silence_duration_ms) == ("server_vad", 300)
    spoken, quiet = ([event.type.rpartition(".")[2] for event in events] for events in told)
    assert spoken == ["committed", "added", "delta", "completed", "done"]
    assert quiet == ["committed", "added", "completed", "done"]
    assert [events[-2].transcript for events in told] == [" ".join(wanted), ""]
    assert told[0][2].delta == " ".join(wanted)
    assert told[0][-2].usage.seconds == pytest.approx(len(samples) / 16_000, abs=0.001)
    assert told[1][0].previous_item_id == told[0][0].item_id


def test_a_commit_after_a_failure_is_no_empty_item(served, pcm, monkeypatch):
    with connect(url(served, "/v1/realtime")) as connection:
        connection.recv(timeout=PATIENCE)
        input_ = {"format": {"type": "audio/pcm", "rate": 16000}, "turn_detection": None}
        update = {"type": "session.update", "session": {"audio": {"input": input_}}}
        connection.send(json.dumps(update))
        connection.recv(timeout=PATIENCE)
        with monkeypatch.context() as broken:
            broken.setattr(served.scheduler, "call", lambda _: 1 / 0)
            connection.send(appended(pcm[:32_000]))
            connection.send('{"type": "input_audio_buffer.commit"}')
            codes = [json.loads(connection.recv(timeout=PATIENCE))["error"]["code"]]
            connection.send('{"type": "input_audio_buffer.clear"}')
            while (event := json.loads(connection.recv(timeout=PATIENCE)))["type"] == "error":
                codes.append(event["error"]["code"])
        assert event["type"] == "input_audio_buffer.cleared"
        assert codes[0] == "internal_error"


def test_the_numbers_of_voice_activity_are_honoured(client, recognizer, pcm):
    """What OpenAI's guide writes, and the long padding of clients that expect a network."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    session = recognizer.live(LiveOptions(pause=0.5, lead=0.6, threshold=0.3))
    heard = [*session.feed(samples), *session.finish()]
    wanted = [round(1000 * event.start) for event in heard if event.kind == "final"]
    turns = {
        "type": "server_vad",
        "threshold": 0.3,
        "prefix_padding_ms": 600,
        "silence_duration_ms": 500,
    }
    with client.realtime.connect(model="ark-mini") as connection:
        connection.recv()
        input_ = {"format": {"type": "audio/pcm", "rate": 16000}, "turn_detection": turns}
        connection.session.update(session={"type": "transcription", "audio": {"input": input_}})
        assert connection.recv().session.audio.input.turn_detection.to_dict() == turns
        append(connection, pcm)
        connection.input_audio_buffer.commit()
        events = []
        while sum(event.type == "conversation.item.done" for event in events) < len(wanted):
            events += until(connection, "conversation.item.done")
    started = [e.audio_start_ms for e in events if e.type.endswith("speech_started")]
    assert started == wanted
    usual = [*recognizer.live(LiveOptions(pause=0.5)).feed(samples)]
    assert started[0] < round(1000 * next(e.start for e in usual if e.kind == "partial"))


@pytest.mark.parametrize(
    ("input_", "param"),
    [
        ({"turn_detection": {"type": "server_vad", "threshold": 1.5}}, "threshold"),
        ({"turn_detection": {"type": "server_vad", "prefix_padding_ms": 5001}}, "from 0 to 5000"),
        ({"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}, "from 300"),
        ({"turn_detection": {"type": "server_vad", "create_response": True}}, "create_response"),
        ({"turn_detection": {"type": "semantic_vad"}}, "server_vad"),
        ({"transcription": {"model": "ark-mini", "prompt": "x"}}, "prompt"),
        ({"transcription": {"keywords": "kink"}}, "transcription.keywords"),
        ({"transcription": {"keywords": ["kink :no"]}}, "'kink :no' is not a word and"),
        ({"transcription": {"model": "gpt-9"}}, "gpt-9"),
        ({"noise_reduction": {"type": "near_field"}}, "noise_reduction"),
        ({"format": {"type": "audio/pcmu"}}, "audio/pcm"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused_by_name(client, input_, param):
    with client.realtime.connect(model="ark-mini") as connection:
        connection.recv()
        connection.session.update(session={"type": "transcription", "audio": {"input": input_}})
        error = connection.recv()
    assert error.type == "error"
    assert param in f"{error.error.message} {error.error.param}"


def test_a_session_goes_on_after_an_error(client):
    with client.realtime.connect(model="ark-mini") as connection:
        connection.recv()
        connection.send({"type": "response.create", "event_id": "mine"})
        error = connection.recv()
        assert (error.type, error.error.event_id) == ("error", "mine")
        connection.input_audio_buffer.commit()
        assert connection.recv().error.code == "input_audio_buffer_commit_empty"
        connection.input_audio_buffer.clear()
        assert connection.recv().type == "input_audio_buffer.cleared"


def test_a_message_that_is_no_text_is_named_and_the_session_goes_on(served):
    with connect(url(served, "/v1/realtime")) as socket:
        socket.recv(timeout=PATIENCE)
        socket.send(b"\0\0")
        error = json.loads(socket.recv(timeout=PATIENCE))["error"]
        assert (error["type"], "must be text" in error["message"]) == (
            "invalid_request_error",
            True,
        )
        socket.send('{"type": "input_audio_buffer.clear"}')
        assert json.loads(socket.recv(timeout=PATIENCE))["type"] == "input_audio_buffer.cleared"


def test_sessions_are_bounded(pcm):
    with serving(max_live=1) as served, connect(url(served)) as first:
        first.send(pcm[:64_000])
        first.recv(timeout=PATIENCE)
        with connect(url(served)) as second, pytest.raises(ConnectionClosedError, match="open"):
            second.recv(timeout=PATIENCE)


def test_who_sends_nothing_keeps_no_place(pcm):
    with serving(max_live=1, live_idle=0.5) as served:
        heard = []
        with connect(url(served)) as idle:
            idle.send(pcm[:96_000])
            heard.extend(json.loads(message) for message in until_closed(idle))
            assert (idle.close_code, idle.close_reason) == (
                1008,
                "no sound came for 0.5 s; the live session is over",
            )
        assert finals(heard)  # what was said before is not lost
        assert eventually(lambda: has_place(served))


def test_an_idle_realtime_session_has_no_place_and_may_go_on(pcm):
    with (
        serving(max_live=1, live_idle=0.5) as served,
        connect(url(served, "/v1/realtime")) as connection,
    ):
        append = {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}
        for _ in range(2):
            connection.send(json.dumps(append))
            while (event := json.loads(connection.recv(timeout=PATIENCE)))["type"] != "error":
                pass
            assert event["error"]["code"] == "session_idle"
            assert eventually(lambda: has_place(served))


def until_closed(socket):
    """Messages until the other side has closed, for whatever reason."""
    with suppress(ConnectionClosed):
        while True:
            yield socket.recv(timeout=PATIENCE)


def has_place(served):
    with connect(url(served)) as socket:
        socket.send('{"type": "end"}')
        list(until_closed(socket))
        return socket.close_code == 1000
