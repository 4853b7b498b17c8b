"""The PHP client against a real daemon: from the command line, and under a real nginx and PHP-FPM."""
