"""An incident in one file, for somebody outside: the report, the records that it rests on, and what proves them."""
