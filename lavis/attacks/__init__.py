"""The attacks of an audit, one per file. Each registers a class with `registry.register_attack`."""
