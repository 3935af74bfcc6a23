"""Rows of image–caption pairs from tables, folders, tar files and `datasets`; every dropped row is counted."""
