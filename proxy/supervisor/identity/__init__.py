"""What clients are known by and the supervisor keeps: issuers' keys, and the keys that were issued."""
