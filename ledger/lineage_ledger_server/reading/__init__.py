"""Reading up to the published head: every answer is hashed again, from the head's root down, before it is given."""
