"""What a simulation is worth: experiments, sweeps, results and the lower bound."""
