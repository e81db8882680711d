"""The command line: ``lstmcore demo`` and ``lstmcore info``."""
