"""The proxies that are compared: each with its best honest configuration for the same job.

The job: HTTP/1.1 over kept-alive connections on both sides; TLS and a verified client certificate towards clients;
verified TLS towards the mock; answers passed on as they come; a line of an access log for each request. What a peer
cannot do of it is in its `lacks`, and shown beside its figures.

peer         what a peer is, where it is started, and how the load gets in
process      a process bound to its cores, and ended for certain
install      the cache folder, and the clients of package registries that fill it
penstock     the gateway itself, every stage on; also compiled
nginx, haproxy, envoy, caddy        general proxies
passthrough, asgi                   the least that a Python proxy does
litellm, portkey                    gateways for language models
known        all of them by name
trial        whether one works here
command      `python -m bench peers`
"""
