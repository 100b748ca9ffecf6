"""Penstock beside other proxies: the same work, one core each, in one run.

cpu         what the kernel says a group of processes has used
measure     what can be measured of a proxy at work
phases      what is measured, of whom, how often                            (data)
scenario    a scenario of `bench.scenarios` as a phase
place       a mock, a proxy before it, and a case measured there once
control     the bare control program: TLS connections that are only held
holding     it as something to be measured, and its clients
comparison  phase after phase, repeat by repeat, proxy by proxy
bars        the table of bars and aims                                      (data)
judge       each bar and whether it holds                                   (pure)
table       all of it as Markdown                                           (pure)
run         `python -m bench compare`
"""
