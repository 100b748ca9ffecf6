"""The mock Azure world: OpenAI instances over regions and tiers, the metadata endpoint, and an Entra token endpoint.

answers    what an instance says, a pure function of the request: a receiver can check every byte
config     the TOML file
faults     what can be made to go wrong while it runs
engine     one epoll, TLS, HTTP/1.1, timers: cheap enough to share a core with the load
instance   one Azure OpenAI resource: credentials, limits, faults, answers
identity   IMDS and Entra
control    faults, what was received, counts, over HTTP on loopback
process    the mock as a subprocess, for tests and the bench
"""
