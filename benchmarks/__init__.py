"""What bflow costs beside other build tools, on one machine: `python -m benchmarks` from the checkout.

It is no part of what is installed, and needs only the standard library.
"""
