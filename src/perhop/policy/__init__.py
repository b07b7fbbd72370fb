"""Policy: Cedar decisions per call on identity, arguments and tenant. The only user of cedarpy.

Leaves to others: scope (looked at before policy is asked), the record, and every answer on the wire.
"""
