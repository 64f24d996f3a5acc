"""What an engine that writes by itself makes of several clips."""

from __future__ import annotations


def written(engine, asks):
    """Its answers, in order; the engine is closed then."""
    try:
        return engine.write(asks, [lambda: False] * len(asks))
    finally:
        engine.close()
