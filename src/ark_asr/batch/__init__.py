"""Many recordings in, one row each out: the record of the published batch scripts, dependable."""
