"""The tests of Perhop; CONTRIBUTING.md says which folder holds what."""
