"""Generated data sets: portraits of fictitious people, scenes of objects, and captions of both."""
