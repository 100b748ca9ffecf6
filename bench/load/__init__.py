"""The load generator: one process, one epoll, every byte compared.

histogram   percentiles from logarithmic buckets
workload    what is asked, and what the answer must be, byte for byte
engine      connections and their state machines
"""
