"""Parts that the fused encoders (ALBEF, BLIP) share. Attributes carry the names of the public checkpoints' keys."""
