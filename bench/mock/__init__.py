"""The mock Azure world: OpenAI instances over regions and tiers, the metadata endpoint, and an Entra token endpoint.

A request goes down this list, its answer comes back up:

engine      one epoll and timers: cheap enough to share a core with the load
connection  TLS, HTTP/1.1 with keep-alive, and every way to end a connection badly
door        where instances listen, and how nobody is there
request     requests out of bytes
instance    one Azure OpenAI resource: credentials, addresses, what is refused
exchange    one request and its answer: the head, the framing
stream      a streamed answer, event by event, and what goes wrong in the middle
rendering   answers, rendered once and kept
answers     what an instance says, a pure function of the request: a receiver can check every byte

Beside them: `config` the file, `faults` what can go wrong, `limits` what a deployment takes, `received` what was
asked, `identity` IMDS and Entra, `oidc` issuers of tokens and `mint` their tokens, `revocation` CRLs and OCSP, `vault`
a Key Vault, `control` and `client` the address to steer it all, `main` the program, `process` the program for tests
and the bench.
"""
