"""Long jobs: an upload that is answered at once, and transcribed when the engine has time."""
