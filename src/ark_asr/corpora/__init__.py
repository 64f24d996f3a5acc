"""Collections of speech: made into manifests, checked, counted, split, and mixed with noise."""
