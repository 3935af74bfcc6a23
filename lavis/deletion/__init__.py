"""What a run leaves behind of what it was to forget: finding it, removing it, and the record of what was done."""
