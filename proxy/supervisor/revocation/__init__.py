"""Whether client certificates are revoked: sources fetched, paths judged, verdicts told to the workers.

fetch     one bounded HTTP exchange; where a certificate's own address may lead
lists     CRLs from files and addresses, kept fresh
answers   OCSP, asked and remembered
verdicts  one verdict for each path seen, kept current and told

What a CRL or an answer means is decided in `proxy.identity.crl` and `proxy.identity.ocsp`, which do no I/O.
"""
