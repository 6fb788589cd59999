"""What the kernels buy, measured: the harness behind ``pydlx bench`` and the cases of every op.

Each case races the native op against its reference, the best peers installed and a plain copy of the same bytes, all in
turn inside one run. On a shared machine absolute times mean little; the ratios inside one run are the result.
"""
