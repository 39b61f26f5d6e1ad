"""Looking at what is published: what there is, how it is laid out, what would make it better. Reads, and changes nothing."""
