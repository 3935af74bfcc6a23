"""SALMU-mini: drawn portraits of fictitious personas, written in SALMU's own layout."""
