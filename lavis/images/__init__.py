"""Where images come from: folders, tar files, and the caches of decoded pixels."""
