"""Backends as the supervisor sees them: credentials, breakers and loads of all workers, health, and what people set."""
