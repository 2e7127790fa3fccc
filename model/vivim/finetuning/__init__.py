"""Learn from a person's corrections: encode frames once, train the decoder many times, in a process of its own.

Callers use `vivim.finetune`, whose events are in `vivim.finetuning.events`.
"""
