"""The proxies that are compared: each with its best honest configuration for the same job.

peer      what a peer is, where it is started, and how the load gets in
process   a process bound to its cores, and ended for certain
penstock  the gateway itself, every stage on
nginx     …
known     all of them by name
"""
