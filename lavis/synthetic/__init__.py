"""Drawn data sets: portraits and scenes, fictitious people and what is said about them."""
