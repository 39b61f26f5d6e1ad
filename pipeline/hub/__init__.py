"""All that talks to the Hub: names, listings, range reads, uploads, commits, dataset cards."""
