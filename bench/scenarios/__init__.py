"""Scenarios: what is asked, by whom, of which backends, what fails meanwhile, and the bars that what was seen is held
against. They are files; see any of those in `loads` and `failures`.

structs    the file, as types
problems   what the types cannot say                                       (pure)
schedule   what happens when                                               (pure)
scenario   scenarios by name; one as the generator's job, and as the mock's configuration
gateway    the gateway's configuration for a scenario                      (pure)
play       one scenario, for real: the mock, the gateway, the load
measure    figures a second, and over a while, of what was seen            (pure)
bars       each bar and whether it held                                    (pure)
page       all of it as one page of HTML                                   (pure)
run        `python -m bench timelines`
"""
