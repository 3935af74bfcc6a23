"""Every setting, declared once; a configuration is composed from files and options, checked, and then frozen."""
