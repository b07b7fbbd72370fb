"""What a person sees: sign-in and consent, as plain HTML forms that work without scripts."""
