"""MFN: routing by spiking neurons. Which of several equal providers serves a request best, learned
from what happens. Pure; `route` holds the theory and one neuron, `router` the race."""
