"""What can be believed of FFmpeg's demuxers, by the first of their names."""

from __future__ import annotations

# Their timestamps are exact to the sample after a seek. Others are decoded from the start: Matroska
# rounds to 1 ms; AMR, ADTS and the like estimate where they are.
_EXACT_SEEK = frozenset({"wav", "w64", "flac", "ogg", "mov", "mp3", "aiff", "au", "caf", "s16le"})
# These tell the time from the place in the file and the bytes of a second that the header states,
# which is a rounded or wrong number for all but plain samples (ADPCM, G.722, WMA).
_BY_BYTES = frozenset({"wav", "w64", "aiff", "au"})
# In these a short hole in the timestamps can be silence that was not sent.
MAY_PAUSE = frozenset({"matroska", "mov", "asf", "flv", "mpegts", "avi"})
# Elementary streams count frames instead of storing times, and lost frames are not counted.
COUNTED = frozenset({"mp3", "aac", "ac3", "eac3"})
# What counts them goes on counting at the rate of the first one, whatever comes later.
ONE_RATE = frozenset({"aac"})
# The header states the length, so that a file cut short can be told.
STATES_LENGTH = frozenset({"wav", "w64", "flac", "mov", "matroska", "aiff", "au", "caf"})
# Playlists would open other files than the one that was named.
INDIRECT = frozenset({"hls", "dash", "concat", "sdp", "rtsp", "imf", "webm_dash_manifest"})


def seeks_exactly(name: str, codec: str) -> bool:
    """Whether times are right to the sample after a seek."""
    return name in _EXACT_SEEK and (name not in _BY_BYTES or codec.startswith("pcm_"))
