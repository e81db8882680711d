"""The side-by-side benchmark: lstmcore and whatever other engines can be imported, in one run."""
