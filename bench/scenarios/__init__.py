"""Scenarios: what is asked, by whom, of which backends, what fails meanwhile, and the bars that what was seen is held
against. They are files; see any of those in `loads` and `failures`.

structs     the file, as types
problems    what the types cannot say                                       (pure)
schedule    what happens when                                               (pure)
scenario    scenarios by name; one as the generator's job, and as the mock's configuration
identities  the clients' credentials, made for one run
gateway     the gateway's configuration for a scenario                      (pure)
play        one scenario, for real: the mock, the gateway, the load
happenings  what is done while the load runs
vitals      what the gateway's processes take of the machine
live        a run as it goes, on a terminal or as plain lines
measure     figures a second, and over a while, of what was seen            (pure)
growth      whether memory or descriptors grow                              (pure)
bars        each bar and whether it held                                    (pure)
record      all of it as it is stored, and as people read it                (pure)
run         `python -m bench run` and `… timelines`
"""
