"""Records on their way from workers to the audit log, and on."""
