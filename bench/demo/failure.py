"""How a demo ends that cannot go on."""


class DemoFailed(Exception):
    """The message says why."""
