"""The console: what service teams and operators look at, in a browser, served by the gateway itself."""
