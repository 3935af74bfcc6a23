"""The command `multidelete`, thin over the functions that the scripts at the top level and `import lavis` call."""
