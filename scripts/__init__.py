"""What maintainers and CI run on the repository; none of it is part of the package."""
