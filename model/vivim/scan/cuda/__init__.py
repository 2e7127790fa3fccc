"""The selective scan on CUDA GPUs: Triton kernels and mamba-ssm."""
