"""The composition root: Settings -> running objects. The only place that knows every part, and no part knows it."""
