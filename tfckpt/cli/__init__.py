"""The command `tfckpt`: one module per verb, imported when the verb is used.

`command` has the main loop and the exit codes that `tfckpt --help` lists.
"""

from __future__ import annotations

from .command import Command

DESCRIPTION = """\
Read, check and write TensorFlow checkpoints without TensorFlow.

  tfckpt ls model.ckpt-322              list the tensors
  tfckpt show model.ckpt-322 NAME       print one of them
  tfckpt info model.ckpt-322            summarise it in a few lines
  tfckpt tree ckpt-7                    draw its objects and shapes as a tree
  tfckpt graph model.ckpt-322           summarise the graph saved with it
  tfckpt verify model.ckpt-322          verify every checksum
  tfckpt doctor whatever.you.have       diagnose a file or folder, and say what to do
  tfckpt diff A B                       compare two checkpoints
  tfckpt report model.ckpt-322 -o x.html            write a page about it, with pictures
  tfckpt export model.ckpt-322 -o x.safetensors     write its tensors unchanged; also .npz and folders of .npy
  tfckpt cp model.ckpt-322 new/model    copy it, with changes; also: merge, set
  tfckpt run convert.py model.ckpt      run a script that reads it with TensorFlow's functions
  tfckpt plan-export huge.ckpt -o s3://bucket/out/   export as tasks; then run-task and finish; clean after crashes
  tfckpt scan s3://bucket/ -o table.jsonl           a table of all checkpoints in a folder or bucket

PATH is a checkpoint's prefix, any of its files, or a folder that holds it.
"""

_COMMAND = Command(
    name="tfckpt",
    package=__name__,
    verbs=(
        *("ls", "show", "info", "tree", "graph", "verify", "doctor", "diff", "export", "cp", "merge", "set", "run"),
        *("report", "plan-export", "run-task", "finish", "clean", "scan"),
    ),
    description=DESCRIPTION,
)
build_parser = _COMMAND.build_parser
main = _COMMAND.main
