"""What happens when things break, measured on a running gateway and the mock, each beside its bar.

world        a mock of two regions, a gateway before it, its records and its status
finding      a measured value beside its bar
disconnects  clients that leave in mid-stream
slow         clients that never read, beside fast ones
backend      a backend that dies before the head, and in the middle
killed       a worker that is killed under load
run          `python -m bench faults`
"""
