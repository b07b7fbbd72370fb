"""Other proxies that carry calls, and ask us about each before they do."""
