"""Timelines: backends fail on schedule under open-loop load, and what the clients saw of it is held against bars.

timeline  the file: backends, load, events over time, bars; see any of the *.toml beside this
gateway   the gateway's configuration for a timeline
play      one timeline, for real: the mock, the gateway, the load
measure   figures a second, and over a while, of what was seen    (pure)
bars      each bar and whether it held                            (pure)
page      all of it as one page of HTML                           (pure)
run       `python -m bench timelines`
"""
