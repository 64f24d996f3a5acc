"""Other systems beside this one: the same recordings, the same machine, the same scoring."""
