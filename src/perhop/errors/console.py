"""What the console's pages say no with, before anybody looks who asks."""

from __future__ import annotations

from perhop.errors.root import Refused


class ConsoleRefused(Refused):
    """The request to the console is wrong; the person gets a page that says so."""


class ForeignHost(ConsoleRefused):
    """The request is for another host than that of `console_url`. Spec: RFC 9110 §7.4."""

    status = 421
    description = "this is not an address of the console"


class ForeignForm(ConsoleRefused):
    """The browser says that another site has sent this form."""

    status = 403
    description = "the form came from another site, so nothing was done"


class PageMissing(ConsoleRefused):
    """There is no such page, or it is not for this person: one answer for both."""

    status = 404
    description = "there is nothing here that you can see"
