"""`python -m bench plan`: how many provisioned units are the cheapest that hold the service, over months.

Months at the grain of requests would take hours. So their hours are sorted by how much load there is, and who asks: for
each number of units, stretches of some virtual minutes are run at a few levels of load, through the gateway's own
routing, queue and limits, and every hour of the months is read off between the levels. Which tokens are asked for is
not estimated: what happens to them is. Some hours that were no level are run for themselves in the end, and how far
they are from what was read off is said.

latency      times to the first token, counted
structs      what a plan's file says
files        plans by name or file, and what can be wrong with them
demand       who asks for what in which hour, from curves and sizes
recorded     the same from the gateway's audit log
deployments  provisioned units and standard quota, as they answer, throttle and slow down
admission    clients' limits, as the supervisor and the workers keep them
stretch      some minutes of one load through the gateway, in virtual time
ladder       levels of load, and what happens between them
costs        what all hours of the months come to, by month, client and deployment
search       the cheapest number of units, from coarse to fine
check        hours that were no level, run for themselves
plan         all of it, from a file to a result
page         the result as HTML and as Markdown
run          the command
"""
