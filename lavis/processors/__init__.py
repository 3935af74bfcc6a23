"""Image and text processors, looked up by name in the registry."""
