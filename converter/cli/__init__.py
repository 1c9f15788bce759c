"""The command `tf2torch`: one module per verb, imported when the verb is used.

`tfckpt.cli.command` has the main loop and the exit codes that `tf2torch --help` lists.
"""

from __future__ import annotations

from tfckpt.cli.command import Command

DESCRIPTION = """\
Convert TensorFlow checkpoints to PyTorch, without TensorFlow: EfficientNet, BERT and others, or any network by rules.

  tf2torch convert efficientnetv2-s -o s.safetensors      write PyTorch weights
  tf2torch plan efficientnetv2-s                          show which tensor becomes which, without writing
  tf2torch verify efficientnetv2-s s.safetensors          prove that they are the checkpoint's
  tf2torch evaluate s.safetensors --data FOLDER           measure accuracy on labelled images
  tf2torch bench s.safetensors                            measure its speed on this machine
  tf2torch export s.safetensors -o s.onnx                 write a program for another runtime, checked there
  tf2torch inspect saved_model                            show what any TensorFlow graph takes and returns
  tf2torch revert s.pth --like efficientnetv2-s -o ckpt   go back to TensorFlow
  tf2torch families                                       list the networks that convert without rules

Name a checkpoint by its prefix, any of its files, a folder or archive that contains it, or by the name of a release,
which is downloaded once and kept in a cache.
"""

_COMMAND = Command(
    name="tf2torch",
    package=__name__,
    verbs=(
        "convert",
        "plan",
        "verify",
        "evaluate",
        "bench",
        "export",
        "inspect",
        "revert",
        "families",
        "models",
        "ops",
    ),
    description=DESCRIPTION,
    checksum_hint="; tfckpt verify lists all damage",
    interrupted_note="; no output was left behind",
)
build_parser = _COMMAND.build_parser
main = _COMMAND.main
