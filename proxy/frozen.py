"""What most plain data of the gateway is: a struct that does not change.

A base, and not an option of each class: a subclass inherits how it behaves, and the options that a class statement
states itself are lost on a class of a module that is compiled.
"""

import msgspec


class Frozen(msgspec.Struct, frozen=True):
    """Equal by its fields, and a key in dictionaries."""
