"""`scripts/demo`: a gateway in front of a mock Azure OpenAI in two regions, one answer through it, and one refusal.

Everything it makes is in `.demo` at the top of the checkout: certificates, configurations, the audit log. The gateway's
configuration there is a working example of its scenario.

scenarios   who calls, with what, and who is turned away
running     the mock, the gateway, and its configuration
asking      requests to it, and the records they leave
"""
