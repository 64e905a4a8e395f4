"""Evaluates policies: experiments, sweeps, results and the lower bound."""
