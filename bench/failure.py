"""The one error of the bench that people see."""


class BenchError(Exception):
    """Something the person at the keyboard can put right; the message says how."""
