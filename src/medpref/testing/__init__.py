"""Contract suites that any component must pass, as plain functions that raise AssertionError; for plugins too."""
