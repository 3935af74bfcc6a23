"""Attacks that try to bring back what a model was made to forget, and a test of whether it behaves as if retrained."""
