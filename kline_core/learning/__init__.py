"""What to call similar, learned walk-forward: does a taught metric find charts that tell what follows?"""
