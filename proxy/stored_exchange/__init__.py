"""One request on stored state: what it names is its client's own, it goes to where that lies, and what it makes is
remembered as its client's before anybody hears of it.

    authorize → read → admit → whose is it → where does it lie → ask → remember → answer

It is admitted before it is looked up, so that whoever guesses ids is held to its limits. Entered by `serve`, from
`proxy.exchange`; a stateless request never comes here. What needs no backend to be decided is in `proxy.stored`.
"""
