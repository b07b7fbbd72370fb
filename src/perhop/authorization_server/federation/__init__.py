"""Federation: people sign in at an OpenID provider, and come back as who the provider says they are."""
