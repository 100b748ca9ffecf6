"""What people should know: who announces, and where it goes."""
