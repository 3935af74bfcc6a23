"""Builders, data sets, forget lists and loaders."""
