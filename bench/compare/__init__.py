"""Penstock beside other proxies: the same work, one core each, in one run.

cpu        what the kernel says a group of processes has used
measure    the phases: plain requests, events, handshakes, first events, memory, a long soak
report     the table
"""
