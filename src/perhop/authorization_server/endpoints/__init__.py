"""The endpoints, one a file, and the one place that turns errors into answers: `render`."""
