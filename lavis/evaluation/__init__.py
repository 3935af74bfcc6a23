"""Ranking, recall, membership, accuracy: numbers from features."""
