"""The code of placeholder models, which is copied into their packages: it must need numpy alone."""
