"""The load generator: every request by its schedule, every time from when it was due, every byte compared.

job         what is to be done, as plain data
arrivals    when requests fall due                                         (pure)
replay      requests as a log has them
draw        what each is, and whose: by the job's seed                     (pure)
workload    what is asked, and what the answer must be, byte for byte      (pure)
identities  who asks: credentials, and a TLS context for each certificate
roster      many of them, from a file
answer      one answer as it arrives: its framing, its bytes, its events   (no I/O)
retold      an answer that a proxy writes anew: what it says               (no I/O)
connection  one client, a state machine over a non-blocking TLS socket
source      where its requests come from: a closed loop, or an open one
engine      many of them on one epoll
histogram   HdrHistogram, recorded cheaply                                 (pure)
results     what was counted and timed; adds up                            (pure)
outcome     what a job came to, and each second of it                      (pure)
part        one process' share of a job
messages    what processes tell one another                                (no I/O)
child       a process of a load that is shared
processes   several of them, and this one free for other things
generate    runs a job
show        its seconds as lines
command     `python -m bench load`
"""
