"""Models as files: what a source says about its model, its weights, and export to open_clip's and transformers' form."""
