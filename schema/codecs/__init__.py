"""Arrays as the bytes that tables hold, each with a checksum."""
