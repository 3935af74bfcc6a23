"""One attack per file. Each registers a class with `registry.register_attack`."""
