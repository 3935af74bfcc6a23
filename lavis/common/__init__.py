"""Helpers for all rooms of the library; imports no other room."""
