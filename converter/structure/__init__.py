"""Which network a TensorFlow graph computes, read from its operations without torch and without running it.

::

    terms        what a graph computes, without calls, branches and operations that change nothing
    arithmetic   element-wise operations in NumPy
    functions    what is computed between two layers, found by evaluating it: batch norm, bias, activation
    layers       the layers of a convolutional network, from its logits back to its image
    endings      what is done with the logits: returned, changed, or only trained with
    reading      where the network is in a graph, what surrounds it, and what could not be accounted for

`engine` runs the same graphs and is the second opinion: the two rooms share no code.
"""
