"""The console: pages for the people of the owners' teams, at a listener of their own. Plain HTML, no scripts."""
