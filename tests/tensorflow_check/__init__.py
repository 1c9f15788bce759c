"""A check that TensorFlow loads the checkpoints that tfckpt writes.

`write.py` writes checkpoints of many kinds with tfckpt; the files are the same every time.
`load.py` loads them in an interpreter with TensorFlow and compares every value.
`recorded.json` has the checksums of the files that TensorFlow loaded correctly.
tests/tfckpt/test_tensorflow_check.py compares new files with them, which does not need TensorFlow.

    make tensorflow-check TENSORFLOW_PYTHON=.tensorflow/bin/python             compare
    make tensorflow-check TENSORFLOW_PYTHON=.tensorflow/bin/python RECORD=1    compare and record
"""
