"""All settings, declared once. A configuration is composed from files and options, checked and frozen."""
