"""Stored state: whose a thing is, what an answer makes, what a batch will run. Pure.

All clients reach a resource with one identity, so what one of them stores there would be open to all. Whose each thing
is, and where it lies, is remembered by the supervisor; what is in here decides with it.
"""
