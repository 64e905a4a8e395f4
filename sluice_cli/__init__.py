"""The operator's command line. It presents decisions and simulations, and makes none itself."""
