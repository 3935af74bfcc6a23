"""Converts published data sets to the layout that training reads."""
