"""What `penstock` commands do, each in a module; how they are spelled is `proxy.cli`'s. They run apart from it."""
