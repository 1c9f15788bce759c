"""All ready networks, in the order in which `tf2torch families` lists them."""

from __future__ import annotations

from .albert import ALBERT
from .bert import BERT
from .electra import ELECTRA
from .gpt2 import GPT2
from .inception import INCEPTION_V3
from .mobilenet import MOBILENET_V1, MOBILENET_V2
from .network import Network
from .resnet import RESNET_V1, RESNET_V2
from .t5 import T5

NETWORKS: tuple[Network, ...] = (
    BERT,
    ALBERT,
    ELECTRA,
    GPT2,
    T5,
    MOBILENET_V1,
    MOBILENET_V2,
    RESNET_V1,
    RESNET_V2,
    INCEPTION_V3,
)
