"""What an operator asks of AWS about deployed workloads, and what follows from the answers.

Reads only, through the layer's adapters where they read it already. The command renders it.
"""
