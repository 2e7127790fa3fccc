"""The selective scan and the causal convolution compiled for CPUs."""
