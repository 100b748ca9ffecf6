"""The engine: what touches sockets, and the framing of HTTP/1.1 on them.

    pump        one epoll for every socket of a worker, served in batches between trio's passes
    clock       lets the pump wait where trio would, so that relayed bytes wake no task
    link        one TLS socket in the pump; a task waits on it, or a relay is driven by it
    tls         contexts, built explicitly
    http1       request and response heads, and the framing they announce (pure)
    chunks      chunked bodies, strictly (pure)
    body        a response body on its way through: what to send on, and what it tells the meter (pure)
    relay       a response in flight between two links
    pool        connections to backends
    server      connections of clients: heads, bodies, keep-alive, lingering close
    listener    accepting, handshakes, bounds

Nothing in here knows clients, grants, models or backends' health.
"""
