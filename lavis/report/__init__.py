"""The report: one static page (and its tables) that says what each removal achieved and what it cost."""
