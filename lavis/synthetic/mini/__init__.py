"""SALMU-mini: drawn portraits of fictitious people in SALMU's layout."""
