"""The load generator: one process, one epoll, every byte compared.

histogram   percentiles from logarithmic buckets
workload    what is asked, and what the answer must be, byte for byte
answer      one answer as it arrives: its framing, its bytes, its events   (no I/O)
results     what a run measured
connection  one client, a state machine over a non-blocking TLS socket
engine      many of them: closed loop, or open loop at a constant rate
command     `python -m bench load`
"""
