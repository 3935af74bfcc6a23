"""The Python interface: load models and data, unlearn, evaluate, export. `import lavis` offers all of it."""
