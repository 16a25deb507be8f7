"""One file a competitor: each is run as a process of its own, most in a virtual environment of their own."""
