"""Metrics on features: ranking, recall, membership, accuracy."""
