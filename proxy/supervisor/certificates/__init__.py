"""The certificates that are configured or seen: from where, and until when."""
