"""Images from folders and tar files, and caches of decoded pixels."""
