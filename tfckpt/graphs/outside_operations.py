"""Operations that reach outside a graph when it is run: files, the network and Python code.

Source: the operations of TensorFlow 2.21 (`TF_GetAllOpList`) and of its earlier releases, read one by one.
A graph that has one of these is not wrong, but running it does more than compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from .graph import Node

Reach: TypeAlias = Literal["reads files", "writes files", "network", "python"]

_ALWAYS: dict[Reach, tuple[str, ...]] = {
    "reads files": (
        *("ReadFile", "MatchingFiles", "MatchingFilesDataset", "ExperimentalMatchingFilesDataset", "RecordInput"),
        *("WholeFileReader", "WholeFileReaderV2", "TextLineReader", "TextLineReaderV2", "LMDBReader"),
        *("TFRecordReader", "TFRecordReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2"),
        *("TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "SqlDataset", "ExperimentalSqlDataset"),
        *("FixedLengthRecordDataset", "FixedLengthRecordDatasetV2", "LMDBDataset", "ExperimentalLMDBDataset"),
        *("CSVDataset", "CSVDatasetV2", "ExperimentalCSVDataset", "LoadDataset", "ListSnapshotChunksDataset"),
        *("SnapshotDatasetReader", "SnapshotNestedDatasetReader", "SnapshotChunkDataset"),
        *("InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "InitializeTRTResource"),
        *("ImmutableConst", "LoadAndRemapMatrix", "GenerateVocabRemapping", "Skipgram"),
    ),
    "writes files": (
        *("WriteFile", "SaveDataset", "SaveDatasetV2", "SnapshotDataset", "SnapshotDatasetV2", "DistributedSave"),
        *("DatasetToTFRecord", "ExperimentalDatasetToTFRecord", "CreateSummaryFileWriter", "CreateSummaryDbWriter"),
        *("DumpTensor", "CalibrationStatisticsSaver", "SerializeTRTResource", "DebugIdentityV2"),
    ),
    "network": (
        *("RpcServer", "RpcClient", "RpcCall", "Rpc", "TryRpc", "RemoteCall", "FileSystemSetConfiguration"),
        *("DataServiceDataset", "DataServiceDatasetV2", "DataServiceDatasetV3", "DataServiceDatasetV4"),
        *("RegisterDataset", "RegisterDatasetV2", "GcsConfigureBlockCache", "GcsConfigureCredentials"),
        *("BigQueryReader", "BigtableClient", "KafkaDataset"),
    ),
    "python": ("PyFunc", "PyFuncStateless", "EagerPyFunc"),
}

#: Operations that always reach outside, each with what it reaches.
ALWAYS: Mapping[str, Reach] = MappingProxyType({op: reach for reach, ops in _ALWAYS.items() for op in ops})

#: Operations of savers, with the inputs that are names of files: they reach outside unless the caller gives the names.
SAVERS: Mapping[str, tuple[Reach, tuple[int, ...]]] = MappingProxyType(
    {
        "Save": ("writes files", (0,)),
        "SaveSlices": ("writes files", (0,)),
        "SaveV2": ("writes files", (0,)),
        "MergeV2Checkpoints": ("writes files", (0, 1)),
        "Restore": ("reads files", (0,)),
        "RestoreSlice": ("reads files", (0,)),
        "RestoreV2": ("reads files", (0,)),
        "DTensorRestoreV2": ("reads files", (0,)),
    }
)

#: Operations whose input of this number is a name of a file, or an empty constant for memory.
CACHES: Mapping[str, int] = MappingProxyType({"CacheDataset": 1, "CacheDatasetV2": 1})


def _prints_to_file(node: Node) -> bool:
    stream = node.attributes.get("output_stream", b"")
    return isinstance(stream, bytes) and stream.startswith(b"file:")


def _has_addresses(node: Node) -> bool:
    return bool(node.attributes.get("debug_urls"))


def _has_descriptor_file(node: Node) -> bool:
    source = node.attributes.get("descriptor_source", b"")
    return isinstance(source, bytes) and source not in (b"", b"local://") and not source.startswith(b"bytes://")


def _has_vocabulary_file(node: Node) -> bool:
    return bool(node.attributes.get("vocab_file"))


#: Operations that reach outside if an attribute says so.
BY_ATTRIBUTE: Mapping[str, tuple[Reach, Callable[[Node], bool]]] = MappingProxyType(
    {
        "PrintV2": ("writes files", _prints_to_file),
        "DebugIdentity": ("network", _has_addresses),
        "DebugIdentityV3": ("network", _has_addresses),
        "DebugNanCount": ("network", _has_addresses),
        "DebugNumericSummary": ("network", _has_addresses),
        "DecodeProtoV2": ("reads files", _has_descriptor_file),
        "EncodeProto": ("reads files", _has_descriptor_file),
        "FixedUnigramCandidateSampler": ("reads files", _has_vocabulary_file),
    }
)
