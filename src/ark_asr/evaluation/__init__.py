"""How well was it written down: normalising, word and character errors, intervals, summaries."""
