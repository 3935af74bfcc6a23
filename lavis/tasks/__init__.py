"""Tasks: what a run trains, unlearns and evaluates."""
