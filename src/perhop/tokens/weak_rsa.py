"""The fingerprint of RSA keys from a broken generator (ROCA, CVE-2017-15361).

Its primes are k*M + (65537^a mod M), M a product of small primes; so modulo each small prime the modulus is a power of
65537. A sound modulus passes as such for all of them less than once in a hundred million.
"""

from __future__ import annotations

_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
"""The small primes for which the powers of 65537 leave residues out."""


def _powers(prime: int) -> frozenset[int]:
    residues, power = set(), 1
    while power not in residues:
        residues.add(power)
        power = power * 65537 % prime
    return frozenset(residues)


_RESIDUES = tuple((prime, _powers(prime)) for prime in _PRIMES)


def is_roca(modulus: int) -> bool:
    """True if the modulus bears the fingerprint."""
    return all(modulus % prime in residues for prime, residues in _RESIDUES)
