"""Recordings, splits and caches: where everything is trained on comes from."""
