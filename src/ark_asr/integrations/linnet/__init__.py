"""ARK-ASR as the sidecar that an unmodified Linnet asks for what is said (``CF_VOICE_URL``)."""
