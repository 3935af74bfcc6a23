"""Models as files: what a source says about its model, its weights, and export to other libraries' forms."""
