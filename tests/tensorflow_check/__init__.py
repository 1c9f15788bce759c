"""What we write, read by real TensorFlow.

`write.py` writes checkpoints of many kinds with tfckpt, the same bytes every time.
`load.py` runs in an interpreter that has TensorFlow, loads them, and compares every value.
`recorded.json` holds the checksums of the files that TensorFlow loaded rightly when it was last run;
a test of the ordinary run compares what is written now with them, so that it needs no TensorFlow.

    make tensorflow-check TENSORFLOW_PYTHON=.tensorflow/bin/python             compare
    make tensorflow-check TENSORFLOW_PYTHON=.tensorflow/bin/python RECORD=1    and record
"""
