"""The check of the revocation bound: a server that runs measures now and then how long a revocation really takes.

It gets a token that is good nowhere, revokes it as an operator would, and asks every place that we promise the bound
for until it refuses.
"""

from perhop.wiring.revocation_check.figures import Failed, Figures, Measured, NotMeasured, Place, Result, Round
from perhop.wiring.revocation_check.rounds import RevocationCheck, Rounds

__all__ = [
    "Failed",
    "Figures",
    "Measured",
    "NotMeasured",
    "Place",
    "Result",
    "RevocationCheck",
    "Round",
    "Rounds",
]
