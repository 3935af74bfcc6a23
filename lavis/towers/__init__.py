"""Towers of open_clip and timm, rewritten for speed and memory; parameters, names and values stay theirs."""
