"""What runs of the bench leave behind, and what is made of it.

stored   a run as a file of JSON: everything that was measured, of whom, by what command, on what machine
"""
