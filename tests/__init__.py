"""Tests: one file per module, sentences as names, a real PostgreSQL and real websockets."""
