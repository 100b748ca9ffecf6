"""How another configuration comes into force."""
