"""Parts of open_clip's and timm's towers, rewritten for speed and memory with the same parameters, names and values."""
