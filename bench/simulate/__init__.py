"""The gateway's own routing in virtual time: thousands of times faster than the clock, the same for the same seed.

What decides is `proxy.routing` as the workers run it, and the sharing of breakers as the supervisor does it; what it
meets is modelled. No sockets, no trio, no clock: a minute of a fleet takes some hundredths of a second.

clock      virtual time: what is due, in order
waiting    a worker's waiting room, in virtual time
worker     a request's way through a worker
scenario   backends, clients, troubles and workers of one run, and how such are drawn from a seed
backend    a modelled deployment: how long it takes, what it takes at a time, and what goes wrong when
sharing    what workers tell each other, which takes its time
fleet      several workers before modelled backends
account    every attempt and every end of a request, as it was
laws       what must hold in any run, whatever happens
run        `python -m bench simulate`
"""
